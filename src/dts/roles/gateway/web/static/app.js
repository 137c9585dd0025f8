// What a page does beyond being read: its own clock, staying up to date, and forms that show what they would do.
"use strict";

const two = (number) => String(number).padStart(2, "0");
const day = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
const hour = (at) => `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;

function far(at) {
  const seconds = Math.abs(at - Date.now()) / 1000;
  const [count, unit] = seconds < 60 ? [seconds, "s"] : seconds < 3600 ? [seconds / 60, "min"]
    : seconds < 172800 ? [seconds / 3600, "h"] : [seconds / 86400, "d"];
  const text = `${Math.floor(count)} ${unit}`;
  return at > Date.now() ? `in ${text}` : `${text} ago`;
}

function tell(time) {
  const at = new Date(time.dateTime);
  const whole = `${day(at)} ${hour(at)}`;
  const text = time.hasAttribute("data-relative") ? far(at)
    : time.hasAttribute("data-hour") ? hour(at).slice(0, 5)
    : day(at) === day(new Date()) ? hour(at) : whole;
  if (time.textContent !== text) time.textContent = text;
  if (!time.title) time.title = `${whole} here, ${time.dateTime}`;
}

function tellTimes(root) {
  root.querySelectorAll("time").forEach(tell);
}

// Brings what is shown to what has come, and leaves alone what is the same: focus, selection and scroll stay.
function morph(shown, fresh) {
  const keyed = new Map([...shown.children].filter((each) => each.id).map((each) => [each.id, each]));
  let at = shown.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const known = wanted.id && keyed.get(wanted.id);
    if (known && known !== at) {
      shown.insertBefore(known, at);
      at = known;
    }
    if (!at || !alike(at, wanted)) {
      shown.insertBefore(wanted, at);
      continue;
    }
    const next = at.nextSibling;
    if (!at.isEqualNode(wanted)) become(at, wanted);
    at = next;
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function alike(one, other) {
  return one.nodeName === other.nodeName && (one.id || "") === (other.id || "");
}

function become(shown, wanted) {
  if (shown.nodeType !== Node.ELEMENT_NODE) {
    shown.data = wanted.data;
    return;
  }
  const ours = ["open", "data-shown"];
  for (const { name } of [...shown.attributes]) {
    if (!wanted.hasAttribute(name) && !ours.includes(name)) shown.removeAttribute(name);
  }
  for (const { name, value } of [...wanted.attributes]) {
    if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  }
  if (shown !== document.activeElement || !shown.matches("input, select, textarea")) morph(shown, wanted);
}

function show(id, html) {
  const part = document.getElementById(id);
  if (!part) return;
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  tellTimes(fresh.content);
  morph(part, fresh.content);
}

const link = document.getElementById("link");
function linked(well, text) {
  link.className = well ? "" : "broken";
  link.textContent = text;
}

// A stream of events while the page is seen: browsers have few connections to a host, and those that nobody sees count too.
function listen(address, heard) {
  let events = null;
  const close = () => {
    if (events) events.close();
    events = null;
  };
  const open = () => {
    if (events) return;
    events = new EventSource(address);
    for (const [name, hear] of Object.entries(heard)) events.addEventListener(name, hear);
    events.addEventListener("error", () => {
      if (events.readyState === EventSource.CLOSED) setTimeout(again, 3000); // refused: browsers give up then
    });
    events.addEventListener("end", () => {
      close();
      document.removeEventListener("visibilitychange", turn);
    });
  };
  const again = async () => {
    const answer = await fetch(location.href, { method: "HEAD" }).catch(() => null);
    if (answer && answer.status === 401) location.reload();
    close();
    turn();
  };
  const turn = () => (document.hidden ? close() : open());
  document.addEventListener("visibilitychange", turn);
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => event.persisted && open());
  turn();
}

function keepUp(address) {
  listen(address, {
    parts: (event) => {
      linked(true, "Live.");
      for (const [id, html] of Object.entries(JSON.parse(event.data))) show(id, html);
    },
    trouble: (event) => linked(false, JSON.parse(event.data).message),
    over: () => location.reload(),
    error: () => linked(false, "The connection is lost; trying again…"),
  });
}

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.ask;
  if (question && !confirm(question)) event.preventDefault();
  else if (question && event.target.elements.sure) event.target.elements.sure.value = "yes"; // the server need not ask
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  const search = document.querySelector("input[type=search]");
  if (event.key === "/" && search) {
    event.preventDefault();
    search.focus();
  }
});

tellTimes(document);
setInterval(() => document.querySelectorAll("time[data-relative]").forEach(tell), 1000);
document.querySelectorAll("[data-zone]").forEach((each) => {
  each.textContent = `Times are of your clock: ${Intl.DateTimeFormat().resolvedOptions().timeZone}.`;
});
if (document.body.dataset.live) keepUp(document.body.dataset.live);

// The output of a run: lines as they come, a word to find in them, one stream or both.
const LINES = 5000;

function follow(address) {
  const log = document.getElementById("log");
  const find = document.getElementById("find");
  const stay = document.getElementById("follow");
  const shows = (line) => line.textContent.toLowerCase().includes(find.value.toLowerCase());
  let begun = false;
  listen(address, {
    open: () => { begun = false; },
    lines: (event) => {
      if (!begun) log.replaceChildren();
      begun = true;
      for (const [kind, text] of JSON.parse(event.data)) {
        const line = document.createElement("div");
        line.className = kind;
        line.textContent = text;
        line.classList.toggle("gone", !shows(line));
        log.append(line);
      }
      while (log.childElementCount > LINES) log.firstChild.remove();
      if (stay.checked) log.scrollTop = log.scrollHeight;
    },
    end: () => {
      if (!begun) log.querySelectorAll(".none").forEach((each) => { each.textContent = "Nothing was printed."; });
    },
  });
  find.addEventListener("input", () => {
    for (const line of log.children) line.classList.toggle("gone", !shows(line));
  });
  const only = document.getElementById("only-err");
  only.addEventListener("change", () => log.classList.toggle("only-err", only.checked));
  document.querySelectorAll("[data-without-script]").forEach((each) => each.remove());
}

if (document.body.dataset.log) follow(document.body.dataset.log);

// Defining a task: only the fields of its kind, and what would come of it while it is written.
const PAUSE = 300;

function preview(form) {
  let waiting, asked = 0;
  const ask = async () => {
    const mine = ++asked;
    const fields = new URLSearchParams(new FormData(form));
    fields.set("do", "part");
    const answer = await fetch(form.action, { method: "POST", body: fields });
    if (mine === asked && answer.status !== 401) show("preview", await answer.text());
    if (mine === asked) copies();
  };
  const fit = () => {
    const kind = form.elements.kind && form.elements.kind.value;
    form.querySelectorAll("[data-kinds]").forEach((each) => { each.hidden = !each.dataset.kinds.split(" ").includes(kind); });
  };
  form.addEventListener("input", () => {
    fit();
    clearTimeout(waiting);
    waiting = setTimeout(() => ask().catch(() => linked(false, "The preview cannot be had.")), PAUSE);
  });
  fit();
}

function copies() {
  if (!navigator.clipboard) return;
  document.querySelectorAll("[data-copy]").forEach((each) => {
    if (each.querySelector(".copy")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(each.querySelector("code").textContent);
      button.textContent = "Copied";
    });
    each.append(button);
  });
}

copies();
document.querySelectorAll("form[data-preview]").forEach(preview);
