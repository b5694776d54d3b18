// A row of the list.

import { DAY, MINUTE, find, findAll, make, time } from "./dom.js";
import { connect } from "./menu.js";
import { by, lastFour, may, owner, state, title } from "./state.js";

const A_DAY = 86_400_000;
const SOON = 14;

export function drawKey(key) {
  const row = find(`#rows [data-key-id="${CSS.escape(key.id)}"]`) ?? newRow();
  const put = (selector, ...content) => find(selector, row).replaceChildren(...content);
  row.dataset.keyId = key.id;
  put(".name", key.name ?? "Unnamed");
  put(".last-four", lastFour(key) ?? "–");
  find(".own", row).hidden = key.id !== state.session.key_id;
  put(".created", ...(key.created_at ? ["created ", time(key.created_at, DAY), ` ${by(key.created_by)}`] : []));
  put(".owner", owner(key) ?? "–");
  put(".type", key.type === "user" ? "user key" : "");
  put(".granted", ...summary(key.permissions));
  put(".roles", key.roles.length > 0 ? `roles: ${key.roles.join(", ")}` : "");
  put(".plan", limits(key));
  put(".used", ...(key.last_used_at ? ["used ", time(key.last_used_at, MINUTE)] : ["never used"]));
  put(".count", key.use_count === 1 ? "once" : key.use_count ? `${key.use_count.toLocaleString()} times` : "");
  put(".state", key.status.replaceAll("_", " "));
  find(".state", row).dataset.status = key.status;
  put(".note", ...note(key));
  put(".why", [by(key.revoked_by), key.reason].filter(Boolean).join(": "));
  mark(row, key);
  for (const button of findAll("[data-action]", row)) {
    button.hidden = !OFFERED[button.dataset.action](key);
    button.ariaLabel = `${button.textContent} ${title(key)}`;
  }
  find("[data-menu]", row).ariaLabel = `More actions for ${title(key)}`;
  return row;
}

function newRow() {
  const row = find("tr", document.importNode(find("#row").content, true));
  connect(row);
  return row;
}

// A key can be replaced once. Only the user may replace a user's key.
const isOwn = (key) => key.type !== "user" || (state.session.is_user && key.owner === state.session.owner);
const replaceable = (key) => !key.replaced_by && key.status !== "expired" && key.status !== "revoked" && isOwn(key);

const OFFERED = {
  edit: (key) => key.status !== "revoked" && may("update"),
  history: () => true,
  rotate: (key) => replaceable(key) && may("update"),
  regenerate: (key) => replaceable(key) && may("update"),
  revoke: (key) => key.status !== "revoked" && may("delete"),
};

function summary(permissions) {
  const lines = Object.entries(permissions).map(([resource, actions]) => make("div", {}, `${resource}: ${actions.join(", ")}`));
  return lines.length > 0 ? lines : ["none"];
}

// The numbers are those that differ from the plan. Only the service itself changes them.
function limits(key) {
  const numbers = Object.entries(key.limits).map(([name, number]) => `${name}: ${number}`);
  return [key.plan && `plan ${key.plan}`, ...numbers].filter(Boolean).join(" · ");
}

function note(key) {
  if (key.status === "not_yet_valid" && key.not_before) return ["from ", time(key.not_before, MINUTE)];
  if (!key.expires_at || key.status === "revoked") return [];
  if (key.status === "expired") return ["since ", time(key.expires_at, MINUTE)];
  const replaced = key.replaced_by && key.status === "active";
  return [replaced ? "replaced, works until " : "until ", time(key.expires_at, MINUTE)];
}

// The marks beside the status: a key that was found in public, and one that ends soon.
function mark(row, key) {
  const leak = state.leaks.get(key.id);
  find(".leaked", row).hidden = !leak;
  find(".leak", row).replaceChildren(...(leak ? ["found in public ", time(leak.at, DAY), `: ${leak.source}`] : []));
  const days = key.status === "active" && key.expires_at ? daysUntil(key.expires_at) : Infinity;
  const soon = days <= SOON;
  find(".soon", row).hidden = !soon;
  find(".soon", row).textContent = soon ? `Expires ${inDays(days)}` : "";
}

// Counts days of the calendar, in the local time zone, as the date beside the mark does.
const daysUntil = (instant) => Math.round((midnight(instant) - midnight(Date.now())) / A_DAY);

const midnight = (instant) => new Date(instant).setHours(0, 0, 0, 0);

function inDays(days) {
  if (days < 1) return "today";
  return days === 1 ? "tomorrow" : `in ${days} days`;
}
