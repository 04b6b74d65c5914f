// The page's own script: small, and nothing depends on it. Every link and form works without it.
// Marks that it looks for:
//   data-key="n"            that key focuses the field or follows the link      data-js         shown only with this script
//   form[data-main]         Ctrl+Enter sends it                                 data-enter="next" Enter goes to the next field
//   data-confirm="…"        asked before the form is sent                        data-guard      asks before typed input is left
//   data-theme-set="dark"   light, dark or auto, kept in the cookie `theme`      data-age="187"  seconds; the text is kept current
//   data-lookup-url="…"     a field that looks up rows: GET ?q= gives {"items": [{"key", "label"}, …], "more": bool}
//   data-picks="id"         a native date field that fills the text field of that id
//   data-live="…"           an event stream; at each event the element is fetched anew by its id from data-fragment (else
//                           from this page) and morphed in, unless somebody types, selects or has a menu open inside it
//   data-tick           a box of a row: X ticks it     data-ticks="name" ticks all boxes of that name; while one is ticked,
//                           the element that refreshes itself around it stays as it is
//   data-gone="reload"      on such an element: when it is not there any more, the page is loaded anew
(() => {
  "use strict";
  const root = document.documentElement, words = root.dataset;
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const typing = (node) => !!node?.closest?.("input:not([type=checkbox],[type=radio],[type=button],[type=submit]),select,textarea,[contenteditable]");
  const store = { get(name) { try { return localStorage.getItem(name); } catch { return null; } },
    set(name, value) { try { localStorage.setItem(name, value); } catch { /* private window: for this page only */ } } };

  // ---- theme
  const showTheme = (theme) => {
    if (theme === "auto") delete root.dataset.theme; else root.dataset.theme = theme;
    for (const button of all("[data-theme-set]")) button.setAttribute("aria-pressed", String(button.dataset.themeSet === theme));
  };
  const keptTheme = () => document.cookie.match(/(?:^|; )theme=(light|dark|auto)/)?.[1] ?? root.dataset.theme ?? "auto";

  // ---- age of the data, counted from the moment the text arrived, so the browser's clock does not matter
  const arrived = new WeakMap();
  const age = (seconds) => {
    const [s, min, h, d] = (words.units ?? "s|min|h|d").split("|");
    const [count, unit] = seconds < 60 ? [seconds, s] : seconds < 3600 ? [seconds / 60, min] : seconds < 86400 ? [seconds / 3600, h] : [seconds / 86400, d];
    return `${Math.floor(count)}\u00a0${unit}`;
  };
  const tick = () => {
    for (const node of all("[data-age]")) {
      const seen = arrived.get(node);
      if (seen?.age !== node.dataset.age) { arrived.set(node, { age: node.dataset.age, at: performance.now() }); continue; }
      const text = age(Number(node.dataset.age) + (performance.now() - seen.at) / 1000);
      if (node.textContent !== text) node.textContent = text;
    }
  };

  // ---- keyboard
  const closeMenus = (except) => {
    let closed = false;
    for (const menu of all("details.drop[open]")) if (!except || !menu.contains(except)) { menu.open = false; closed = true; }
    return closed;
  };
  const moveRow = (step) => {
    const rows = all("table.rows tbody tr").filter((row) => row.querySelector("a[href]"));
    const at = rows.findIndex((row) => row.contains(document.activeElement));
    const row = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + step))];
    (row?.querySelector("a[data-row]") ?? row?.querySelector("a[href]"))?.focus();
    row?.scrollIntoView({ block: "nearest" });
    return !!row;
  };
  const singleKey = (event) => {
    if (store.get("keys") === "off") return false;
    if (event.key === "?") { document.getElementById("help")?.showModal(); return true; }
    const target = all("[data-key]").find((node) => node.dataset.key === event.key.toLowerCase() && node.offsetParent);
    if (!target) return false;
    if (typing(target)) { target.focus(); target.select?.(); } else target.click();
    return true;
  };
  const escape = (event) => {
    const menu = event.target.closest?.("details.drop[open]");
    if (closeMenus()) { menu?.querySelector("summary").focus(); return true; }
    if (typing(event.target)) { event.target.blur(); return false; }
    return false;
  };
  const nextField = (event) => {
    const form = event.target.closest("form[data-enter=next]");
    if (!form || !event.target.matches("input,select")) return false;
    const fields = all("input:not([type=hidden]),select,textarea,button[type=submit]", form).filter((node) => !node.disabled && node.offsetParent);
    fields[fields.indexOf(event.target) + 1]?.focus();
    return true;
  };
  const onKey = (event) => {
    if (event.defaultPrevented || event.isComposing) return false;
    const form = event.target.closest?.("form") ?? document.querySelector("form[data-main]");
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { form?.requestSubmit(); return !!form; }
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return false;
    if (event.key === "Escape") return escape(event);
    if (event.key === "Enter") return nextField(event);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && (event.target === document.body || event.target.closest?.("table.rows") || (step > 0 && event.target.type === "search"))) return moveRow(step);
    if (event.key.toLowerCase() === "x" && !typing(event.target) && store.get("keys") !== "off") {
      const box = event.target.closest?.("tr")?.querySelector("[data-tick]");
      if (box) { box.click(); return true; }
    }
    return typing(event.target) ? false : singleKey(event);
  };

  // ---- forms: asked, sent once
  const dirty = new Set();
  const onSubmit = (event) => {
    const form = event.target, question = event.submitter?.dataset.confirm ?? form.dataset.confirm;
    if (event.defaultPrevented || form.method !== "post" || form.matches("[hx-post],[data-hx-post]")) return;
    if (form.dataset.sent) { event.preventDefault(); return; }
    if (question && !confirm(question)) { event.preventDefault(); return; }
    form.dataset.sent = "1";
    dirty.delete(form);
    (event.submitter ?? form.querySelector("[type=submit]"))?.setAttribute("aria-busy", "true");
  };
  const release = () => {
    for (const form of all("form[data-sent]")) delete form.dataset.sent;
    for (const button of all("[type=submit][aria-busy]")) button.removeAttribute("aria-busy");
  };

  const pick = (field, iso) => {
    const [year, month, day] = iso.split("-"), [order, sign] = (words.date ?? "ymd -").split(" ");
    field.value = [...order].map((part) => ({ y: year, m: month, d: day })[part]).join(sign);
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.focus();
  };

  // ---- looking up a row: ARIA combobox; the key travels in a hidden field of the same name
  const lookUp = (input) => {
    const hidden = Object.assign(document.createElement("input"), { type: "hidden", name: input.name, value: input.value });
    const list = Object.assign(document.createElement("ul"), { id: `${input.id}-options`, hidden: true });
    const said = Object.assign(document.createElement("span"), { className: "unseen" });
    let active = -1, items = [], timer = 0, asking = null;
    input.removeAttribute("name");
    if (input.dataset.label) input.value = input.dataset.label;
    input.autocomplete = "off";
    list.role = "listbox"; said.role = "status"; input.role = "combobox";
    list.ariaLabel = input.labels?.[0]?.textContent ?? "";
    for (const [name, value] of Object.entries({ "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id })) input.setAttribute(name, value);
    input.after(hidden, list, said);
    const close = () => { clearTimeout(timer); asking?.abort(); list.hidden = true; active = -1; input.setAttribute("aria-expanded", "false"); input.removeAttribute("aria-activedescendant"); };
    const mark = (to) => {
      active = items.length ? (to + items.length) % items.length : -1;
      [...list.children].forEach((node, index) => { if (node.role === "option") node.ariaSelected = String(index === active); });
      const node = list.children[active];
      if (!node) return;
      input.setAttribute("aria-activedescendant", node.id);
      node.scrollIntoView({ block: "nearest" });
    };
    const choose = (item) => { hidden.value = item.key; input.value = item.label; input.setCustomValidity(""); close(); hidden.dispatchEvent(new Event("change", { bubbles: true })); };
    const show = (answer) => {
      items = answer.items;
      list.replaceChildren(...items.map((item, index) => Object.assign(document.createElement("li"), { role: "option", id: `${list.id}-${index}`, textContent: item.label })));
      if (!items.length) list.append(Object.assign(document.createElement("li"), { className: "empty small", textContent: words.none ?? "—" }));
      said.textContent = items.length ? `${items.length}${answer.more ? "+" : ""}` : words.none ?? "";
      list.hidden = false;
      input.setAttribute("aria-expanded", "true");
      mark(input.value ? 0 : -1);
    };
    const ask = async () => {
      asking?.abort();
      const mine = (asking = new AbortController());
      const url = new URL(input.dataset.lookupUrl, location.href);
      url.searchParams.set("q", hidden.value === "" || input.value !== input.dataset.label ? input.value : "");
      try {
        const response = await fetch(url, { signal: mine.signal, headers: { Accept: "application/json" } });
        if (!response.ok) throw new Error(String(response.status));
        const answer = await response.json();
        if (asking === mine && document.activeElement === input) show(answer);
      } catch (fault) { if (fault.name !== "AbortError") close(); /* the typed key still works */ }
    };
    input.addEventListener("input", () => { hidden.value = input.value; clearTimeout(timer); timer = setTimeout(ask, 150); });
    input.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const open = !list.hidden;
      if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); if (open) mark(active + (event.key === "ArrowDown" ? 1 : -1)); else ask(); }
      else if (open && event.key === "Enter" && items[active]) { event.preventDefault(); choose(items[active]); }
      else if (open && event.key === "Tab" && items[active]) choose(items[active]);
      else if (open && event.key === "Escape") { event.preventDefault(); close(); }
    });
    list.addEventListener("pointerdown", (event) => { event.preventDefault(); const item = items[[...list.children].indexOf(event.target.closest("[role=option]"))]; if (item) choose(item); });
    input.addEventListener("blur", close);
  };

  // ---- live: one stream for each address, shared by the elements that name it
  const streams = new Map(), waiting = new Set(), served = new WeakMap();
  const busy = (node) => {
    const selection = getSelection();
    return document.hidden || (node.contains(document.activeElement) && typing(document.activeElement)) || !!node.querySelector("details.drop[open],dialog[open],form[data-sent]") ||
      [...dirty].some((form) => node.contains(form)) || !!node.querySelector("[data-tick]:checked") || (!!selection && !selection.isCollapsed && selection.containsNode(node, true));
  };
  let ours = false;
  const swap = async (node, fresh) => {
    if (!fresh && node.dataset.gone === "reload") { location.reload(); return; }
    if (!fresh || !node.isConnected) return;
    const text = fresh.outerHTML;
    if (served.get(node) === text) return; // this part of the page is as it was
    if (busy(node)) { waiting.add(node); return; }
    ours = true;
    if (window.htmx) await htmx.swap({ sourceElement: node, target: node, swap: "outerMorph", text });
    else { node.replaceWith(fresh); enhance(); }
    ours = false;
    const shown = document.getElementById(fresh.id);
    if (shown) served.set(shown, text);
  };
  const fetchParts = async (url, nodes) => {
    const response = await fetch(url, { headers: { "HX-Request": "true", Accept: "text/html" } });
    if (response.status === 401 || response.redirected) { signedOut(); return; }
    if (!response.ok) throw new Error(String(response.status));
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const node of nodes) await swap(node, page.getElementById(node.id));
  };
  // What waits is fetched when nobody is busy with it; one fetch at a time, and not more than three a second.
  let fetching = false, rest = 0;
  const settle = async () => {
    if (fetching || performance.now() < rest) return;
    const due = new Map();
    for (const node of waiting) {
      if (!node.isConnected) { waiting.delete(node); continue; }
      if (busy(node)) continue;
      waiting.delete(node);
      const url = node.dataset.fragment || location.href;
      due.set(url, [...(due.get(url) ?? []), node]);
    }
    if (!due.size) return;
    fetching = true;
    rest = performance.now() + 330;
    for (const [url, nodes] of due) await fetchParts(url, nodes).catch(() => { rest = performance.now() + 2000; for (const node of nodes) waiting.add(node); });
    fetching = false;
    if (waiting.size) setTimeout(settle, Math.max(0, rest - performance.now()));
  };
  const signedOut = () => { if (!dirty.size && !typing(document.activeElement)) location.reload(); };
  const touched = (url) => { for (const node of all("[data-live]")) if (node.dataset.live === url) waiting.add(node); settle(); };
  const showAway = (hidden) => { const away = document.getElementById("away"); if (away) away.hidden = hidden; };
  // What changed since the last event, or since the making of the page, is asked for by the id of the one, the pulse of the other.
  const lasts = new Map();
  const listen = (url) => {
    const last = lasts.get(url) ?? document.body.dataset.pulse;
    const stream = new EventSource(last ? `${url}${url.includes("?") ? "&" : "?"}last=${encodeURIComponent(last)}` : url);
    let gone = 0;
    stream.onopen = () => { clearTimeout(gone); gone = 0; showAway(true); };
    stream.addEventListener("change", (event) => { lasts.set(url, event.lastEventId); touched(url); });
    stream.onerror = () => {
      gone ||= setTimeout(showAway, 4000, false);
      if (stream.readyState !== EventSource.CLOSED || streams.get(url) !== stream) return; // it comes back by itself
      streams.delete(url);
      fetch(url, { method: "HEAD" }).then((answer) => { if (answer.status === 401) signedOut(); }, () => {});
      setTimeout(() => { clearTimeout(gone); connect(); }, 5000);
    };
    streams.set(url, stream);
  };
  const connect = () => { if (!hiding) for (const node of all("[data-live]")) if (!streams.has(node.dataset.live)) listen(node.dataset.live); };
  const hangUp = () => { for (const stream of streams.values()) stream.close(); streams.clear(); };
  // A page that nobody sees listens no more after a while: browsers open but six connections to a server.
  let hiding = 0;
  const onSight = () => {
    clearTimeout(hiding);
    hiding = document.hidden ? setTimeout(hangUp, 5000) : 0;
    if (!document.hidden) { connect(); settle(); }
  };

  // ---- once for the page, again after each swap
  const enhance = () => {
    for (const node of all("[data-js][hidden]")) node.hidden = false;
    for (const node of all("input[data-lookup-url][name]")) lookUp(node);
    connect();
    tick();
  };
  document.addEventListener("keydown", (event) => { if (onKey(event)) event.preventDefault(); });
  document.addEventListener("submit", onSubmit);
  document.addEventListener("input", (event) => { const form = event.target.closest("form[data-guard]"); if (form) dirty.add(form); });
  document.addEventListener("click", (event) => {
    closeMenus(event.target);
    const button = event.target.closest("[data-theme-set],[data-opens],[data-print]");
    if (button?.dataset.themeSet) { document.cookie = `theme=${button.dataset.themeSet};path=/;max-age=31536000;samesite=lax`; showTheme(button.dataset.themeSet); }
    if (button?.dataset.opens) document.getElementById(button.dataset.opens)?.showModal();
    if (button && "print" in button.dataset) print();
  });
  document.addEventListener("change", (event) => {
    const { id, dataset, value, checked } = event.target;
    if (dataset.ticks) for (const box of all(`[data-tick][name="${dataset.ticks}"]`)) box.checked = checked;
    if (id === "keys-on") store.set("keys", checked ? "on" : "off");
    if (dataset.picks && value) pick(document.getElementById(dataset.picks), value);
  });
  document.addEventListener("htmx:after:swap", () => {
    if (!ours) for (const node of all("[data-live]")) served.delete(node); // the reader has turned to something else
    enhance();
  });
  addEventListener("pageshow", (event) => { if (event.persisted) release(); });
  addEventListener("pagehide", hangUp);
  document.addEventListener("visibilitychange", onSight);
  addEventListener("pageshow", (event) => { if (event.persisted) enhance(); });
  addEventListener("beforeunload", (event) => { if (dirty.size) event.preventDefault(); });
  const start = () => {
    for (const node of all("[data-live]")) served.set(node, node.outerHTML);
    showTheme(keptTheme());
    const keys = document.getElementById("keys-on");
    if (keys) keys.checked = store.get("keys") !== "off";
    enhance();
    if (document.hidden) onSight();
    const menu = document.getElementById("menu"), here = menu?.querySelector("[aria-current]");
    if (here && menu.scrollWidth > menu.clientWidth) menu.scrollLeft = here.offsetLeft - menu.offsetLeft - 8;
    setInterval(tick, 10000);
    setInterval(settle, 300);
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start); else start();
})();
