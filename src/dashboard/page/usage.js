// A sparkline of the last 30 days for each key: requests that passed, and those that were rejected.
// Below it is what is left of the limits of the key.

import { call, keyPath } from "./api.js";
import { balance } from "./credits.js";
import { MINUTE, find, make, time } from "./dom.js";

const WIDTH = 120;
const HEIGHT = 24;
const A_DAY = 86_400; // seconds
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });
const HOUR = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });

function svg(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  element.append(...children);
  return element;
}

const rejected = (counts) => counts.forbidden + counts.rejected + counts.limited;
const all = (counts) => counts.accepted + rejected(counts);

function words({ days, total }) {
  const busiest = days.reduce((most, day) => (all(day) > all(most) ? day : most));
  const most = `most on ${DAY.format(new Date(busiest.day))}: ${all(busiest)}`;
  return `Requests in 30 days: ${total.accepted} accepted, ${rejected(total)} rejected; ${most}`;
}

// One bar a day. The rejected requests are above the accepted ones.
function bars(days) {
  const step = WIDTH / days.length;
  const scale = HEIGHT / Math.max(1, ...days.map(all));
  return days.flatMap((day, index) => {
    const bar = (className, count, below) =>
      count === 0
        ? []
        : svg("rect", {
            class: className,
            x: index * step,
            y: HEIGHT - (below + count) * scale,
            width: step * 0.75,
            height: count * scale,
          });
    return [bar("accepted", day.accepted, 0), bar("rejected", rejected(day), day.accepted)].flat();
  });
}

function draw(usage) {
  const chart = all(usage.total) > 0 ? [spark(usage)] : [];
  return usage.limits?.length ? [...chart, left(usage.limits)] : chart;
}

function spark(usage) {
  const text = words(usage);
  const line = svg("line", { x1: 0, y1: HEIGHT, x2: WIDTH, y2: HEIGHT });
  return svg(
    "svg",
    { class: "spark", role: "img", "aria-label": text, viewBox: `0 0 ${WIDTH} ${HEIGHT + 1}` },
    svg("title", {}, text),
    line,
    ...bars(usage.days),
  );
}

// A limit that is full, or is full again within a minute, has no time.
function left(limits) {
  const lines = limits.map((limit) => {
    if (limit.balance) return balance(limit);
    const { name, remaining, most, full_after } = limit;
    const numbers = `${name}: ${remaining.toLocaleString()} of ${most.toLocaleString()} left`;
    return make("li", {}, numbers, ...(remaining < most && full_after > 60 ? [", full at ", time(after(full_after), full_after < A_DAY ? HOUR : MINUTE)] : []));
  });
  return make("ul", { className: "left", role: "list", ariaLabel: "What is left of the limits" }, ...lines);
}

// The instant after so many seconds, to the minute.
const after = (seconds) => new Date(Math.round(Date.now() / 60_000 + seconds / 60) * 60_000).toISOString();

// Draws the usage of each row that is put into the table, one after the other. A row without usage
// keeps its place empty: the page itself reports an error, such as the end of the session.
async function drawUsage(rows) {
  for (const row of rows) {
    const usage = await call("GET", keyPath(row.dataset.keyId, "/usage")).catch(() => null);
    if (usage && row.isConnected) find(".usage", row).replaceChildren(...draw(usage));
  }
}

const added = (changes) => changes.flatMap((change) => [...change.addedNodes]);
const observer = new MutationObserver((changes) => drawUsage(new Set(added(changes))));
observer.observe(find("#rows"), { childList: true });
