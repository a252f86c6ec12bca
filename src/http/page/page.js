/*
 * The status page, live: the server makes the same document again, and what has changed in it is
 * changed here, node by node, so that focus, selection and scrolling stay. Everything that can be
 * chosen is in the address.
 */
"use strict";
(() => {
    const EVERY = 2000, SOON = 300, SLOW = 4000, AT_ONCE = 3, PATIENCE = 8000, TYPING = 250;
    const live = document.getElementById("live"), trouble = document.getElementById("trouble");
    const pause = document.getElementById("pause"), pulse = document.getElementById("pulse");
    const form = document.getElementById("filter");
    let paused = false, timer = 0, typing = 0, asked = [], failures = 0, last = Date.now(), polls = 0;

    /* ---- one document becomes the other ---- */

    function sameAttributes(node, wanted) {
        for (const a of [...node.attributes])
            if (!wanted.hasAttribute(a.name) && a.name !== "open")
                node.removeAttribute(a.name);
        for (const a of wanted.attributes)
            if (node.getAttribute(a.name) !== a.value && a.name !== "open")
                node.setAttribute(a.name, a.value);
        if (node === document.activeElement || typing)
            return; /* what somebody types into is theirs; what they chose has yet to be asked for */
        if (node.localName === "input" && node.value !== wanted.getAttribute("value"))
            node.value = wanted.getAttribute("value") || "";
        if (node.localName === "select" && node.value !== wanted.value)
            node.value = wanted.value;
    }

    function alike(a, b) {
        return a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || "") === (b.id || "");
    }

    function become(node, wanted) {
        if (node.nodeType !== Node.ELEMENT_NODE) {
            if (node.nodeValue !== wanted.nodeValue)
                node.nodeValue = wanted.nodeValue;
            return;
        }
        if (node.localName === "select" && (node === document.activeElement || typing))
            return;
        const named = new Map();
        for (const child of node.children)
            if (child.id)
                named.set(child.id, child);
        let at = node.firstChild;
        for (const want of [...wanted.childNodes]) {
            const known = want.id && named.get(want.id);
            let have = known || (at && alike(at, want) ? at : null);
            if (known)
                named.delete(want.id);
            /* What has gone makes place without moving what stays. */
            while (known && at && at !== known && at.id && !wanted.querySelector("#" + CSS.escape(at.id))) {
                const gone = at;
                at = at.nextSibling;
                gone.remove();
            }
            if (!have) {
                node.insertBefore(document.importNode(want, true), at);
                continue;
            }
            if (have === at)
                at = at.nextSibling;
            else
                node.insertBefore(have, at);
            become(have, want);
        }
        while (at) {
            const gone = at;
            at = at.nextSibling;
            gone.remove();
        }
        sameAttributes(node, wanted);
    }

    function show(text) {
        const page = new DOMParser().parseFromString(text, "text/html");
        const wanted = page.getElementById("live");
        if (!wanted)
            return false;
        const focus = document.activeElement, id = focus && focus.id;
        become(live, wanted);
        if (id && document.activeElement !== focus) { /* it was moved, or made again */
            const again = document.getElementById(id);
            if (again)
                again.focus({preventScroll: true});
        }
        if (document.title !== page.title)
            document.title = page.title;
        return true;
    }

    /* ---- asking ---- */

    function say(text) {
        document.documentElement.classList.toggle("stale", text !== "");
        trouble.hidden = text === "";
        if (trouble.textContent !== text)
            trouble.textContent = text; /* it is read out, so how long it lasts is said elsewhere */
        status();
    }

    function status() {
        const old = Math.round((Date.now() - last) / 1000) + " s old";
        pulse.textContent = paused ? "paused" : trouble.hidden ? "live" : old;
    }

    /* Told at once that it does not work: once more soon, since a process may just be replaced. */
    function failed() {
        failures++;
        if (failures > 1 || paused)
            say("No answer from the server; it is asked again and again.");
        plan(failures > 1 ? EVERY : SOON);
    }

    function heard(answer, text) {
        failures = 0;
        plan(EVERY);
        if (answer.ok && !show(text)) {
            say("What answers there is not the status page.");
        } else if (answer.ok) {
            last = Date.now();
            document.documentElement.dataset.polls = ++polls;
            say("");
        } else if (answer.status === 401) {
            say("The server wants its secret again: load this page again.");
        } else {
            say("The server answers with " + answer.status + "; it is asked again.");
        }
    }

    /* One request of several that may be under way: the newest that is answered counts. */
    async function ask() {
        const mine = {stop: new AbortController()};
        asked.push(mine);
        plan(SLOW);
        try {
            /* The query as it is: keys are any bytes, what parses it makes U+FFFD of some. With the
               origin: the address may have had a name and a secret in it, which fetch() refuses. */
            const url = location.origin + "/" + (location.search ? location.search + "&" : "?") + "part=live";
            const answer = await fetch(url, {signal: mine.stop.signal, cache: "no-store"});
            const text = await answer.text();
            if (mine.stop.signal.aborted)
                return;
            forget(asked.indexOf(mine));
            asked.shift();
            heard(answer, text);
        } catch (error) {
            if (mine.stop.signal.aborted)
                return;
            if (!asked.includes(mine))
                throw error; /* not of the network: a mistake of this script */
            asked.splice(asked.indexOf(mine), 1);
            failed();
        }
    }

    /* The oldest so many. */
    function forget(n) {
        for (const old of asked.splice(0, n))
            old.stop.abort();
    }

    /* What is asked for has changed. */
    function refresh() {
        forget(asked.length);
        ask();
    }

    /* An answer is overdue, or it is time for the next: an answer that got lost is not waited for, one
       that takes long is. */
    function due() {
        if (asked.length && Date.now() - last > PATIENCE)
            say("No answer from the server; it is asked again and again.");
        if (asked.length >= AT_ONCE)
            forget(1);
        ask();
    }

    function plan(delay) {
        clearTimeout(timer);
        if (!paused && !document.hidden)
            timer = setTimeout(due, delay);
        status();
    }

    function go(url, replace) {
        history[replace ? "replaceState" : "pushState"](null, "", url);
        refresh();
    }

    /* ---- what people do ---- */

    document.addEventListener("click", (event) => {
        const link = event.target.closest("a[data-go]");
        if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey)
            return;
        if (String(getSelection()) && link.closest(".row"))
            return event.preventDefault(); /* they were marking the key */
        event.preventDefault();
        go(link.getAttribute("href"));
    });

    function filter() {
        clearTimeout(typing);
        typing = 0;
        const query = new URLSearchParams();
        for (const [name, value] of new FormData(form))
            if (value !== "")
                query.set(name, value);
        go("/" + (query.size ? "?" + query : ""), true);
    }
    form.addEventListener("submit", (event) => {
        event.preventDefault();
        filter();
    });
    form.addEventListener("input", (event) => {
        if (event.target.name === "sort")
            form.elements.order.value = ""; /* that was the other one's */
        clearTimeout(typing);
        typing = setTimeout(filter, event.target.localName === "input" ? TYPING : 0);
    });

    function setPaused(value) {
        paused = value;
        pause.setAttribute("aria-pressed", String(paused));
        pause.textContent = paused ? "Go on" : "Pause";
        if (paused) {
            forget(asked.length);
            plan(EVERY);
        } else {
            refresh();
        }
    }
    pause.addEventListener("click", () => setPaused(!paused));

    /* To the next row; from elsewhere to the first one that is seen. */
    function move(by) {
        const rows = [...document.querySelectorAll("#table .row .key a")];
        const now = rows.indexOf(document.activeElement);
        const seen = rows.findIndex((x) => x.getBoundingClientRect().top >= 0);
        const next = now >= 0 ? now + by : seen;
        if (rows[next])
            rows[next].focus();
        return rows[next];
    }

    document.addEventListener("keydown", (event) => {
        const typed = /^(input|select|textarea)$/.test(event.target.localName || "");
        if (event.ctrlKey || event.metaKey || event.altKey)
            return;
        if (event.key === "Escape") {
            const open = document.querySelector("a[data-close]");
            if (typed)
                event.target.blur();
            else if (open)
                go(open.getAttribute("href"));
        } else if (typed) {
            return;
        } else if (event.key === "/") {
            event.preventDefault();
            document.getElementById("contains").focus();
        } else if (event.key === "p") {
            setPaused(!paused);
        } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
            if (move(event.key === "ArrowDown" ? 1 : -1))
                event.preventDefault();
        }
    });

    addEventListener("popstate", refresh);
    document.addEventListener("visibilitychange", () => {
        if (document.hidden)
            plan(EVERY);
        else if (!paused)
            refresh();
    });
    document.documentElement.classList.add("scripted");
    for (const id of ["pause", "keys", "pulse"])
        document.getElementById(id).hidden = false;
    plan(EVERY);
})();
