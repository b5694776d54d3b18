// What the scripts share: the session, the keys of the list, and the key that a dialog is about.

export const state = { session: null, keys: [], cursor: null, loaded: false, chosen: null, leaks: new Map(), names: new Map() };

// Returns whether the signed-in user may do this with keys. The server decides again.
export const may = (action) => Boolean(state.session?.may.includes(action));

// What people read for the type "bot" of the API.
export const SERVICE_ACCOUNT = "Service account";

export const owner = (key) => (key.type === "bot" ? SERVICE_ACCOUNT : key.owner);

export const lastFour = (key) => key.mask?.match(/\w{4}$/)?.[0];

export const title = (key) => key.name ?? `the unnamed key ${lastFour(key) ?? ""}`;

// An author is a user, a key, or the system. A key is named if the list has shown it.
export function by(author) {
  if (!author) return "";
  const name = author.type === "key" ? state.names.get(author.id) ?? "another key" : author.id;
  return `by ${name ?? "the system"}`;
}
