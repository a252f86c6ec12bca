/*
 * The status page, live: the server makes the same document again, and what has changed in it is
 * changed here, node by node, so that focus, selection and scrolling stay. Everything that can be
 * chosen is in the address.
 */
"use strict";
(() => {
    const EVERY = 2000, PATIENCE = 10000, TYPING = 250;
    const live = document.getElementById("live"), trouble = document.getElementById("trouble");
    const pause = document.getElementById("pause"), pulse = document.getElementById("pulse");
    const form = document.getElementById("filter");
    let paused = false, timer = 0, typing = 0, asked = null, last = Date.now(), polls = 0;

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
            throw new Error("this is not the status page");
        const focus = document.activeElement, id = focus && focus.id;
        become(live, wanted);
        if (id && document.activeElement !== focus) { /* it was moved, or made again */
            const again = document.getElementById(id);
            if (again)
                again.focus({preventScroll: true});
        }
        if (document.title !== page.title)
            document.title = page.title;
    }

    /* ---- asking ---- */

    function say(text) {
        document.documentElement.classList.toggle("stale", text !== "");
        trouble.hidden = text === "";
        if (trouble.textContent !== text)
            trouble.textContent = text;
    }

    function ago() {
        return Math.round((Date.now() - last) / 1000) + " s";
    }

    async function refresh() {
        clearTimeout(timer);
        if (asked)
            asked.abort();
        const mine = asked = new AbortController();
        const patience = setTimeout(() => mine.abort(), PATIENCE);
        try {
            /* The query as it is: keys are any bytes, what parses it makes U+FFFD of some. With the
               origin: the address may have had a name and a secret in it, which fetch() refuses. */
            const url = location.origin + "/" + (location.search ? location.search + "&" : "?") + "part=live";
            const answer = await fetch(url, {signal: mine.signal, cache: "no-store"});
            const text = await answer.text();
            if (mine !== asked)
                return;
            if (answer.ok) {
                show(text);
                last = Date.now();
                document.documentElement.dataset.polls = ++polls;
                say("");
            } else if (answer.status === 401) {
                say("The server asks for its token again: reload this page.");
            } else {
                say("The server answers with " + answer.status + "; what is shown is " + ago() + " old.");
            }
        } catch (error) {
            if (mine !== asked)
                return;
            say("No answer from the server; what is shown is " + ago() + " old. It is asked again and again.");
        } finally {
            clearTimeout(patience);
            if (mine === asked) {
                asked = null;
                plan();
            }
        }
    }

    function plan() {
        clearTimeout(timer);
        if (!paused && !document.hidden)
            timer = setTimeout(refresh, EVERY);
        pulse.textContent = paused ? "paused" : "live";
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
        if (paused)
            plan();
        else
            refresh();
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
            plan();
        else if (!paused)
            refresh();
    });
    document.documentElement.classList.add("scripted");
    for (const id of ["pause", "keys", "pulse"])
        document.getElementById(id).hidden = false;
    plan();
})();
