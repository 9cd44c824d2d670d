// Keeps the pages fresh. Without it they are complete as served and reload themselves.
"use strict";

const live = document.getElementById("live");

function say(text, isGood) {
  live.hidden = false;
  live.textContent = text;
  live.classList.toggle("good", isGood);
}

function age(millis) {
  const seconds = Math.max(0, Math.floor(millis / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} days`;
}

setInterval(() => {
  for (const time of document.querySelectorAll("time[data-age]")) {
    const text = age(Date.now() - Date.parse(time.dateTime));
    if (time.textContent !== text) time.textContent = text;
  }
}, 1000);

// Streams that are down now: the page is live when none is.
const down = new Set();

function tell() {
  if (down.size > 0) say("reconnecting", false);
  else say("live", true);
}

// `url` is asked for at each start, since a stream that is begun anew begins after what the page has.
function follow(url, names, take) {
  const source = new EventSource(url());
  source.addEventListener("open", () => { down.delete(url); tell(); });
  source.addEventListener("error", () => {
    down.add(url);
    tell();
    // A browser gives up after an error answer; a service that was away comes back.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => follow(url, names, take), 3000);
  });
  for (const name of names) source.addEventListener(name, take);
}

function watchClusters(table) {
  const rows = document.getElementById("rows");
  const take = (event) => {
    if (event.type === "trouble") return say(JSON.parse(event.data), false);
    const changes = JSON.parse(event.data);
    const known = new Map([...rows.children].map((row) => [row.dataset.dn, row]));
    for (const { dn, html } of changes.rows) {
      const holder = document.createElement("template");
      holder.innerHTML = html;
      const row = holder.content.querySelector("tr");
      const old = known.get(dn);
      if (old && old.innerHTML === row.innerHTML) continue;
      // The keyboard's place in the table outlives the row.
      const hadFocus = old && old.contains(document.activeElement);
      if (old) old.replaceWith(row);
      known.set(dn, row);
      if (hadFocus) row.querySelector("a").focus();
    }
    const order = new Set(changes.order);
    for (const [dn, row] of known) if (!order.has(dn)) row.remove();
    changes.order.forEach((dn, index) => {
      const row = known.get(dn);
      if (row && rows.children[index] !== row) rows.insertBefore(row, rows.children[index] || null);
    });
    document.getElementById("empty").hidden = changes.order.length > 0;
    tell();
  };
  follow(() => table.dataset.stream, ["rows", "trouble"], take);
}

let refreshing = null;
let again = false;

// Fetches this page anew and takes over the parts that are made by the server.
async function refresh() {
  if (refreshing) { again = true; return; }
  refreshing = fetch(location.href, { headers: { accept: "text/html" } });
  try {
    const answer = await refreshing;
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[id^=part-]")) {
      const other = fresh.getElementById(part.id);
      if (!other || other.innerHTML === part.innerHTML) continue;
      const open = [...part.querySelectorAll("details")].map((details) => details.open);
      part.replaceChildren(...other.childNodes);
      part.querySelectorAll("details").forEach((details, index) => { details.open = open[index] || false; });
    }
  } catch { /* The streams tell that the gateway is away. */ } finally {
    refreshing = null;
    if (again) { again = false; setTimeout(refresh, 500); }
  }
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

function clock(iso) {
  const time = element("time", "quiet", String(iso).slice(11, 19));
  time.dateTime = iso;
  time.title = iso;
  return time;
}

function watchCluster(page) {
  const { api } = page.dataset;
  const log = document.getElementById("log");
  const events = document.getElementById("events");
  let lastLine = Number(page.dataset.lastLine);
  let lastEvent = Number(page.dataset.lastEvent);
  log.scrollTop = log.scrollHeight;
  follow(() => `${api}/logs?after=${lastLine}`, ["message", "line", "log"], (event) => {
    const line = JSON.parse(event.data);
    if (!(line.sequence > lastLine)) return;
    lastLine = line.sequence;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    const shown = element("span", "line", "");
    shown.classList.add(["stderr", "platform"].includes(line.stream) ? line.stream : "stdout");
    shown.append(clock(line.at), ` ${line.line}\n`);
    log.append(shown);
    while (log.childElementCount > 5000) log.firstElementChild.remove();
    document.getElementById("log-empty").hidden = true;
    if (atEnd) log.scrollTop = log.scrollHeight;
  });
  const kinds = ["message", "event", "status", "node", "run", "operation", "placement"];
  follow(() => `${api}/events?after=${lastEvent}`, kinds, (message) => {
    const event = JSON.parse(message.data);
    if (!(event.sequence > lastEvent)) return;
    lastEvent = event.sequence;
    const text = element("span", "text", "");
    if (event.node) text.append(element("strong", "", event.node), " ");
    text.append(event.message);
    const item = document.createElement("li");
    item.append(clock(event.at), " ", element("span", "tag", event.kind), " ", text);
    events.prepend(item);
    while (events.childElementCount > 1000) events.lastElementChild.remove();
    refresh();
  });
  // Health and ages of observations change without events.
  setInterval(() => { if (!document.hidden) refresh(); }, 10000);
}

const table = document.getElementById("table");
const cluster = document.getElementById("cluster");
if (table) watchClusters(table);
if (cluster) watchCluster(cluster);
