/*
 * tests/model/bell.pml - a model of the wake-ups, for spin: each grant is delivered, and once,
 * whoever is killed between whichever two steps. bell_test.py runs it, also with the mistakes
 * named below.
 *
 * The names are those of src/shm/bell.c, src/worker/ (loop.c, deliver.c, takeover.c) and
 * src/supervisor/bury.c. A statement, or an atomic or d_step block, is one step that others may
 * see. After each step a worker may be killed, and its bell thread with it.
 *
 * What is left out, and why it may be:
 *   - The mutex of a shard: a transaction is one step, since what the dead left open is rolled
 *     back. core/ and shm/lock.c have tests of their own.
 *   - The 500 ms after which a worker wakes in any case. Nothing may depend on them.
 *   - Weak memory: bell.c is sequentially consistent. LOOK_EARLY and RING_EARLY are what would
 *     happen without its fences.
 *   - The marks of `down_since` and their rings: they are about leases.
 *
 * Mistakes to be found, each by -D: LOOK_EARLY LOOK_NOT RING_EARLY WAIT_BLIND SEEN_LATE TRUST_MASK
 * NO_ALARM ALARM_SILENT NO_MORE TOLD_LATE HEARD_NOT.
 */
#ifndef WORKERS
#define WORKERS 2
#endif
/* Of these, the first have connections that wait, and a bell; the others only release. All may
   release: the rest keeps the number of states low. */
#ifndef BELLS
#define BELLS WORKERS
#endif
#ifndef SHARDS
#define SHARDS 1
#endif
#ifndef REQUESTS
#define REQUESTS 1 /* that release something; each grants a node of one worker, or of several */
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#define ALL ((1 << SHARDS) - 1)

/* The table: nodes with TELL, by shard and by the worker that serves their connection. */
#define PENDING(w, s) pending[(w) * SHARDS + (s)]
byte pending[BELLS * SHARDS];
byte owed; /* replies: grants made less grants delivered */

/* struct worker_slot */
byte mask[BELLS];
bool parked[BELLS];
/* The word `bell` differs from the bell thread's `seen`. As that is private to the thread, nobody
   can tell its "load the word, see a new value, remember it" from one step. */
bool rung[BELLS];

/* The kernel's. */
bool asleep[BELLS]; /* the bell thread, in FUTEX_WAIT */
bool efd[BELLS];    /* the eventfd is readable */
bool main_runs[WORKERS] = true;
bool thread_runs[WORKERS];

/* The master's. */
mtype = { SERVING, KILLED, BURIED };
mtype state[WORKERS] = SERVING;

/* What may still come from outside. */
byte requests = REQUESTS;
byte deaths = DEATHS;

/* ---- bell.c ---- */

inline bell_ring(x)
{
    rung[x] = true;
    asleep[x] = false /* FUTEX_WAKE */
}

inline bell_tell(x, shard)
{
#ifdef RING_EARLY
    if
    :: parked[x] -> bell_ring(x)
    :: else
    fi;
#endif
    mask[x] = mask[x] | (1 << shard);
#ifndef RING_EARLY
    if
    :: parked[x] -> bell_ring(x)
    :: else
    fi
#endif
}

inline bell_alarm(x)
{
    mask[x] = ALL;
#ifndef ALARM_SILENT
    bell_ring(x)
#endif
}

proctype bell_thread(byte w)
{
end_none:
    do
    :: thread_runs[w] ->
        {
#ifdef SEEN_LATE
            rung[w] = false;
#endif
            do
            :: atomic { rung[w] -> rung[w] = false }
                efd[w] = true
            :: atomic { /* it saw nothing new: FUTEX_WAIT, which compares again */
                    !rung[w] ->
#ifdef WAIT_BLIND
                    skip
                }
                atomic {
#endif
                    asleep[w] = true
                }
end_asleep:
                !asleep[w]
            od
        } unless {
            state[w] == KILLED
        }
        atomic { asleep[w] = false; thread_runs[w] = false }
    od
}

/* ---- a worker ---- */

/* A request is served by a transaction that grants to one or several workers. shared_end(). */
inline serve()
{
    atomic {
        request = false;
        select(s : 0 .. SHARDS - 1);
        select(tell : 1 .. (1 << BELLS) - 1);
        t = 0;
        do
        :: t < BELLS ->
            if
            :: tell & (1 << t) -> PENDING(t, s)++; owed++
            :: else
            fi;
            t++
        :: else -> break
        od;
        t = 0;
#if REQUESTS > 1 /* the last one need not keep anybody awake */
        if
        :: busy = true /* the next turn does not sleep */
        :: skip
        fi
#endif
    }
    do
    :: atomic {
            tell ->
            do
            :: tell & (1 << t) -> break
            :: else -> t++
            od;
            tell = tell & ~(1 << t)
       }
       bell_tell(t, s)
    :: atomic { !tell -> t = 0; s = 0; break }
    od
}

/* deliver_shards(todo), with a BATCH of one. */
inline deliver()
{
    do
    :: atomic {
            !more && todo ->
            do
            :: todo & (1 << s) -> break
            :: else -> s++
            od;
            todo = todo & ~(1 << s);
            if
            :: PENDING(w, s) ->
                assert(owed > 0);
                owed--; /* table_deliver(), the reply */
#ifdef TOLD_LATE
                more = true
            :: else
            fi
       }
       atomic {
            if
            :: more ->
#endif
                PENDING(w, s)--
            :: else
            fi;
            more = PENDING(w, s) > 0;
#ifdef NO_MORE
            more = false;
#endif
       }
    :: atomic { more -> more = false }
        bell_tell(w, s)
    :: atomic { !more && !todo -> s = 0; break }
    od
}

inline drain_and_deliver()
{
    if
    :: atomic { mask[w] -> todo = mask[w]; mask[w] = 0 } /* bell_drain() */
        deliver()
    :: !mask[w]
    fi
}

proctype worker(byte w)
{
    byte s, t, todo, tell;
    bool more, heard, request, busy;

end_none:
    do
    :: main_runs[w] ->
        {
            /* prepare(): bell_start_thread() */
            atomic {
#ifndef SEEN_LATE
                rung[w] = false;
#endif
                thread_runs[w] = true
            }
            /* takeover() */
            parked[w] = false; /* bell_unpark() */
#ifdef TRUST_MASK
            drain_and_deliver();
#else
            todo = ALL;
            deliver();
#endif
            /* turns() */
            do
            ::  if
                :: atomic { busy -> busy = false; heard = efd[w] }
                :: !busy -> /* bell_park() */
#ifdef LOOK_EARLY
                    more = mask[w] != 0;
                    parked[w] = true;
                    if
                    :: atomic { more -> more = false; heard = efd[w] }
                    :: !more ->
#else
                    parked[w] = true;
                    if
#ifndef LOOK_NOT
                    :: atomic { mask[w] != 0 -> heard = efd[w] }
                    :: mask[w] == 0 ->
#else
                    :: true ->
#endif
#endif
end_asleep:
                        atomic { /* epoll_pwait2() */
                            efd[w] || requests > 0 ->
                            heard = efd[w];
                            if
                            :: requests > 0 -> requests--; request = true
                            :: efd[w]
                            fi
                        }
                    fi;
                    parked[w] = false /* bell_unpark() */
                fi;
                drain_and_deliver();
                atomic { /* ring_heard() */
                    if
                    :: heard ->
                        heard = false;
#ifndef HEARD_NOT
                        efd[w] = false
#endif
                    :: else
                    fi
                }
                do
                :: request -> serve()
                :: atomic { !request -> break }
                od;
                drain_and_deliver()
            od
        } unless {
            state[w] == KILLED
        }
        atomic {
            s = 0; t = 0; todo = 0; tell = 0;
            more = false; heard = false; request = false; busy = false;
            efd[w] = false; /* a new one for the heir */
            main_runs[w] = false
        }
    od
}

/* One that only releases. */
proctype releaser(byte w)
{
    byte s, t, tell;
    bool request, busy;

end_none:
    do
    :: main_runs[w] ->
        {
end_idle:
            do
            :: atomic { requests > 0 -> requests-- }
                serve();
                busy = false
            od
        } unless {
            state[w] == KILLED
        }
        atomic { s = 0; t = 0; tell = 0; busy = false; main_runs[w] = false }
    od
}

/* ---- the master ---- */

#define GONE(x) (state[x] == KILLED && !main_runs[x] && !thread_runs[x])

proctype master()
{
    byte dead, i;

end_idle:
    do
    :: atomic { GONE(0) -> dead = 0; goto bury }
    :: atomic { GONE(1) -> dead = 1; goto bury }
    :: atomic { state[0] == BURIED -> state[0] = SERVING; main_runs[0] = true }
    :: atomic { state[1] == BURIED -> state[1] = SERVING; main_runs[1] = true }
#if WORKERS > 2
    :: atomic { GONE(2) -> dead = 2; goto bury }
    :: atomic { state[2] == BURIED -> state[2] = SERVING; main_runs[2] = true }
#endif
    od;
bury:
#ifdef NO_ALARM
    i = BELLS;
#endif
    do
    :: atomic { i < BELLS && i == dead -> i++ }
    :: i < BELLS && i != dead ->
        bell_alarm(i);
        i++
    :: atomic { i == BELLS -> state[dead] = BURIED; dead = 0; i = 0; goto end_idle }
    od
}

/* ---- outside ---- */

proctype outside()
{
    do
    :: atomic { deaths > 0 && state[0] == SERVING -> state[0] = KILLED; deaths-- }
    :: atomic { deaths > 0 && state[1] == SERVING -> state[1] = KILLED; deaths-- }
#if WORKERS > 2
    :: atomic { deaths > 0 && state[2] == SERVING -> state[2] = KILLED; deaths-- }
#endif
    :: atomic { deaths = 0; requests = 0; break } /* nothing happens any more */
    od
}

/* When nobody can go on, nothing may be left. */
proctype monitor()
{
    byte i;

    atomic {
        timeout ->
        do
        :: i < BELLS * SHARDS -> assert(pending[i] == 0); i++
        :: else -> break
        od;
        assert(owed == 0)
    }
}

init {
    atomic {
        byte i;

        do
        :: i < BELLS -> run worker(i); run bell_thread(i); i++
        :: i >= BELLS && i < WORKERS -> run releaser(i); i++
        :: else -> break
        od;
        run master();
        run outside();
        run monitor()
    }
}
