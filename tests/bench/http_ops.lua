-- tests/bench/http_ops.lua - what wrk asks, for http_ops.py. Arguments: "health"; or "lock", the name of this
-- run (a lock of the last one may still be held) and a session's id for each thread. A thread has one
-- connection, so that a release comes behind its acquire. One script for both, so that wrk costs the same.

local threads = {}

function setup(thread)
   thread:set("number", #threads)
   table.insert(threads, thread)
end

function init(args)
   mode = args[1]
   if mode == "lock" then
      headers = {["X-Dflockd-Session"] = args[3 + number]}
      path = "/v1/locks/" .. args[2] .. "-" .. number
   end
end

function request()
   if mode == "health" then
      return wrk.format("GET", "/health")
   end
   if token then
      return wrk.format("POST", path .. "/release", headers, '{"token":"' .. token .. '"}')
   end
   return wrk.format("POST", path, headers, '{"acquire_timeout_s":0}')
end

wrong = 0

function response(status, _, body)
   if mode == "health" then
      if status ~= 200 then wrong = wrong + 1 end
      return
   end
   if token then
      token = nil
      if status ~= 204 then wrong = wrong + 1 end
      return
   end
   token = body:match('"token":"(%x+)"')
   if not token then wrong = wrong + 1 end
end

function done(summary, latency)
   local wrong = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
   for _, thread in ipairs(threads) do
      wrong = wrong + thread:get("wrong")
   end
   io.write(string.format('\n{"requests":%d,"us":%d,"wrong":%d,"p50_us":%d,"p99_us":%d}\n', summary.requests,
                          summary.duration, wrong, latency:percentile(50), latency:percentile(99)))
end
