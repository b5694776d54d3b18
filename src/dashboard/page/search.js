// The search above the list, and the search for a key by its own text.

import { call } from "./api.js";
import { find } from "./dom.js";
import { onSubmit } from "./parts.js";
import { owner } from "./state.js";

const MONTH = 30 * 86_400_000;

// The query parameters of the conditions that are set.
export function conditions() {
  const set = new URLSearchParams();
  const name = find("#search-name").value.trim();
  if (name) set.set("name_contains", name);
  if (find("#search-status").value) set.set("status", find("#search-status").value);
  if (find("#search-type").value) set.set("type", find("#search-type").value);
  if (find("#search-unused").checked) set.set("never_used", "true");
  if (find("#search-expiring").checked) {
    set.set("sort", "expiry");
    set.set("expires_after", new Date().toISOString());
    set.set("expires_before", new Date(Date.now() + MONTH).toISOString());
  }
  return set;
}

export const searching = () => conditions().size > 0;

// Calls `changed` after each change of a condition, at most five times a second.
export function watch(changed) {
  let timer = null;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(changed, 200);
  };
  for (const event of ["input", "change"]) find("#search").addEventListener(event, later);
  find("#search").addEventListener("submit", (event) => event.preventDefault());
}

// Removes all conditions, and searches again.
export function clear() {
  find("#search").reset();
  find("#search").dispatchEvent(new Event("change"));
}

// The text is sent in a body and forgotten: an address would be written into logs.
async function findByText() {
  const field = find("#find-text");
  const key = field.value.trim();
  field.value = "";
  find("#found").textContent = "";
  const answer = await call("POST", "keys/find", { body: { key } }).catch((error) => {
    if (error.status === 401) throw error;
    return { problem: error.message };
  });
  find("#found").textContent = answer.problem ?? described(answer);
}

function described(key) {
  const by = key.owner ? ` (${owner(key)})` : "";
  return `${key.name ?? "An unnamed key"}${by}: ${key.status.replaceAll("_", " ")}. Its id is ${key.id}.`;
}

onSubmit(find("#find-form"), findByText);
window.addEventListener("pagehide", () => {
  find("#find-text").value = "";
});
