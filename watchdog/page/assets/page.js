// Keeps the page as the server would render it now. The server is the only one
// that renders: a message of its stream has the page loaded again, and what
// differs is taken over, so that nothing else moves, and what a person has
// opened stays open.
"use strict";
(() => {
  const silent = 45e3; // the server says something every 15 s
  const poll = 30e3;   // where it takes no more subscribers
  const link = document.getElementById("link");
  let heard = Date.now();
  let source, loading = false, again = false;

  // say changes what is said of the connection, once for each change.
  const say = (text, stale) => {
    if (link.textContent !== text) link.textContent = text;
    document.body.classList.toggle("stale", stale);
  };

  const load = () => {
    if (loading) { again = true; return; }
    loading = true;
    const request = new XMLHttpRequest();
    request.open("GET", ".");
    request.responseType = "document";
    request.timeout = 20e3;
    request.onloadend = () => {
      loading = false;
      const fresh = request.response;
      if (request.status === 200 && fresh && fresh.getElementById("services")) {
        heard = Date.now();
        if (document.title !== fresh.title) document.title = fresh.title;
        for (const part of ["main", "#asof"]) sync(document.querySelector(part), fresh.querySelector(part));
        say("live", false);
      } else {
        say("not connected, so that this may be old:", true);
      }
      if (again) { again = false; load(); }
    };
    request.send();
  };

  // sync makes one node like another. Elements with an id are found again
  // wherever they are.
  const sync = (old, fresh) => {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    const known = new Map();
    for (const child of old.children) if (child.id) known.set(child.id, child);
    let at = old.firstChild;
    for (const child of fresh.childNodes) {
      let match = child.id ? known.get(child.id) : at;
      if (match && (match.nodeType !== child.nodeType || match.nodeName !== child.nodeName || (match.id || "") !== (child.id || ""))) match = null;
      if (!match) {
        old.insertBefore(document.importNode(child, true), at);
        continue;
      }
      if (match === at) at = at.nextSibling; else old.insertBefore(match, at);
      sync(match, child);
    }
    while (at) { const rest = at.nextSibling; at.remove(); at = rest; }
  };

  const subscribe = () => {
    source = new EventSource("api/events");
    source.addEventListener("change", load);
    source.onerror = () => { load(); }; // which says whether the server is there
  };

  // A page that nobody sees takes no place: there are few of them, and a browser
  // has few connections to one host.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { source.close(); return; }
    if (source.readyState === EventSource.CLOSED) subscribe();
    load();
  });
  setInterval(() => {
    if (document.hidden) return;
    if (source.readyState === EventSource.CLOSED || Date.now() - heard > silent) {
      source.close();
      subscribe();
      load();
    }
  }, poll);
  say("connecting", false);
  subscribe();
})();
