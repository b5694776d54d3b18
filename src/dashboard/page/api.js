// Requests to the server. Their paths are relative to the scripts, since the page may be at any path.

const manage = new URL("manage/", import.meta.url);

const rejection = (status, message) => Object.assign(new Error(message), { status });

export async function call(method, path, { body, headers } = {}) {
  const mutation = method !== "GET" && { "Content-Type": "application/json" };
  const response = await fetch(new URL(path, manage), {
    method,
    headers: { Accept: "application/json", ...mutation, ...headers },
    body: body && JSON.stringify(body),
    credentials: "same-origin",
    cache: "no-store",
  }).catch(() => {
    throw rejection(0, "The server cannot be reached. Check your connection, then try again.");
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw rejection(response.status, reason(response, answer));
  return answer;
}

function reason(response, { detail, title }) {
  return detail || title || `The request failed with status ${response.status}.`;
}

export const keyPath = (id, action = "") => `keys/${encodeURIComponent(id)}${action}`;
