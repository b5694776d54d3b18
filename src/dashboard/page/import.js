// The import of keys of another system. Their texts are wiped from the page when the dialog closes.

import { call } from "./api.js";
import { refresh } from "./app.js";
import { find, make } from "./dom.js";
import { onSubmit, open } from "./parts.js";

const dialog = find("#import");
const field = find("#import-keys");

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("This is not JSON.");
  }
}

// The refused keys stay in the field, to be corrected.
async function importKeys() {
  const keys = parse(field.value);
  const { imported, results } = await call("POST", "keys/import", { body: { keys } });
  const news = `Imported ${imported} of ${keys.length} keys.`;
  const refused = results.flatMap(({ detail }, place) => (detail ? [{ key: keys[place], detail }] : []));
  if (refused.length === 0) {
    dialog.close();
    return refresh(news);
  }
  field.value = JSON.stringify(refused.map(({ key }) => key), null, 2);
  const lines = refused.map(({ key, detail }) => make("li", {}, `${key?.name ?? "Unnamed"}: ${detail}`));
  find("#import-refused").replaceChildren(...lines);
  refresh();
  throw new Error(`${news} The others were refused:`);
}

function wipe() {
  field.value = "";
  find("#import-refused").replaceChildren();
}

find("#import-open").addEventListener("click", () => open(dialog));
dialog.addEventListener("close", wipe);
window.addEventListener("pagehide", wipe);
onSubmit(find("#import-form"), importKeys);
