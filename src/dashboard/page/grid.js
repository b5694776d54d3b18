// The permissions that a form offers: those of the signed-in user, and those that the key has already.

import { find, findAll, make } from "./dom.js";
import { state } from "./state.js";

const holds = (permissions, resource, action) => Object.hasOwn(permissions, resource) && permissions[resource].includes(action);

export function drawGrid(form, already) {
  const offered = [state.session.permissions, already];
  const actions = [...new Set(offered.flatMap((permissions) => Object.values(permissions).flat()))];
  const resources = [...new Set(offered.flatMap(Object.keys))];
  const heading = (text, scope) => make("th", { scope }, text);
  const cell = (resource, action) => {
    if (!offered.some((permissions) => holds(permissions, resource, action))) return make("td");
    return boxCell(resource, action, holds(already, resource, action));
  };
  const row = (resource) => make("tr", {}, heading(resource, "row"), ...actions.map((action) => cell(resource, action)));
  const head = make("tr", {}, make("td"), ...actions.map((action) => heading(action, "col")));
  find(".grid", form).replaceChildren(head, ...resources.map(row));
}

function boxCell(resource, action, checked) {
  const box = make("input", { type: "checkbox", name: "permission", checked, ariaLabel: `${resource}: ${action}` });
  Object.assign(box.dataset, { resource, action });
  return make("td", {}, make("label", {}, box));
}

export function ticked(form) {
  const boxes = findAll("input[name=permission]:checked", form);
  const byResource = Map.groupBy(boxes, (box) => box.dataset.resource);
  return Object.fromEntries([...byResource].map(([name, group]) => [name, group.map((box) => box.dataset.action)]));
}

export const isSame = (one, other) => sorted(one) === sorted(other);

const sorted = (permissions) =>
  JSON.stringify(Object.entries(permissions).flatMap(([resource, actions]) => actions.map((action) => [resource, action])).sort());
