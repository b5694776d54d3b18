// The events of a key, newest first, and the reports of keys that were found in public.

import { call, keyPath } from "./api.js";
import { MINUTE, find, make, time } from "./dom.js";
import { onSubmit, open, run } from "./parts.js";
import { by, state } from "./state.js";

const PAGE = 20;
const INSTANT = /^\d{4}-\d\d-\d\dT[\d:.]+Z$/;
let next = null;

export function openHistory() {
  next = null;
  find("#events").replaceChildren();
  open(find("#history"));
  run(find("#history-form"), load);
}

async function load() {
  find("#history-loading").hidden = false;
  try {
    const query = new URLSearchParams({ limit: PAGE, ...(next && { cursor: next }) });
    const page = await call("GET", keyPath(state.chosen.id, `/events?${query}`));
    next = page.next;
    find("#events").append(...page.events.map(draw));
    if (!find("#events").hasChildNodes()) find("#events").append(make("li", {}, "No events."));
  } finally {
    find("#history-loading").hidden = true;
    find("#more-events").hidden = !next;
  }
}

function draw(event) {
  const kind = make("strong", { className: "kind" }, event.kind);
  kind.dataset.kind = event.kind;
  const head = make("p", {}, kind, " ", by(event.author), ", ", time(event.at, MINUTE));
  const details = [event.leak ? "" : event.reason, ...changes(event)].filter(Boolean);
  const from = event.address ? [make("small", {}, `from ${event.address}`)] : [];
  return make("li", {}, head, ...details.map((text) => make("small", {}, text)), ...leakOf(event), ...from);
}

// The fields that the event has changed. The reason and the replacement have lines of their own, and no person reads the
// meter.
function changes({ kind, before, after }) {
  const isNew = kind === "issued" || kind === "imported";
  const hidden = ["reason", "replaced_by", "meter", ...(isNew ? ["status"] : [])];
  const fields = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((field) => !hidden.includes(field));
  const change = (field) => {
    if (isNew) return text(after[field]);
    if (field === "permissions") return difference(before.permissions, after.permissions);
    return `${text(before[field])} → ${text(after[field])}`;
  };
  return fields.map((field) => `${field.replaceAll("_", " ")}: ${change(field)}`);
}

function difference(before, after) {
  const list = (permissions) => Object.entries(permissions ?? {}).flatMap(([name, actions]) => actions.map((action) => `${name}: ${action}`));
  const [was, is] = [list(before), list(after)];
  const added = is.filter((permission) => !was.includes(permission));
  const removed = was.filter((permission) => !is.includes(permission));
  return [...added.map((permission) => `+ ${permission}`), ...removed.map((permission) => `− ${permission}`)].join(" · ");
}

function text(value) {
  if (value === undefined || value === null) return "none";
  if (Array.isArray(value)) return value.join(", ") || "none";
  if (typeof value === "string" && INSTANT.test(value)) return MINUTE.format(new Date(value));
  if (typeof value !== "object") return String(value);
  const parts = Object.entries(value).map(([name, part]) => `${name}: ${text(part)}`);
  return parts.join(" · ") || "none";
}

// A URL comes from the sender of the report: only a web address becomes a link.
function leakOf({ leak }) {
  if (!leak) return [];
  const found = `found in public: ${leak.source}`;
  if (!leak.url || !URL.canParse(leak.url) || !/^https?:$/.test(new URL(leak.url).protocol)) {
    return [make("small", {}, [found, leak.url].filter(Boolean).join(", "))];
  }
  return [make("small", {}, `${found}, `, make("a", { href: leak.url, rel: "noopener noreferrer", target: "_blank" }, leak.url))];
}

// Reads the newest reports of leaks. Without them, the list has no marks.
export async function readLeaks() {
  const page = await call("GET", "keys/events?kind=leaked&limit=255").catch(() => ({ events: [] }));
  state.leaks = new Map(page.events.toReversed().map(({ key_id, at, leak }) => [key_id, { at, source: leak?.source ?? "" }]));
}

onSubmit(find("#history-form"), load);
