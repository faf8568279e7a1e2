// Sends a form with files, and reports the upload's progress, which fetch cannot.
import { ApiError } from "./api.js";

const STALL_MS = 30_000; // without progress: the connection is gone

/** POST `form` to `path`; `onProgress(fraction)`. Resolves to the response's JSON. */
export function upload(api, path, form, onProgress) {
  const request = new XMLHttpRequest();
  let watch = 0;
  const alive = () => {
    clearTimeout(watch);
    watch = setTimeout(() => request.abort(), STALL_MS);
  };
  return new Promise((resolve, reject) => {
    const lost = () => reject(new ApiError(0, "The server cannot be reached."));
    request.open("POST", path);
    for (const [name, value] of Object.entries(api.headers())) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      alive();
      onProgress(loaded / total);
    });
    request.addEventListener("load", () => {
      const body = parsed(request.responseText);
      if (request.status < 300) return body === null ? lost() : resolve(body);
      const headers = { get: (name) => request.getResponseHeader(name) };
      reject(api.refused({ status: request.status, headers }, body));
    });
    request.addEventListener("error", lost);
    request.addEventListener("abort", lost);
    request.addEventListener("loadend", () => clearTimeout(watch));
    alive();
    request.send(form);
  });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
