// Files before they are sent: what the server accepts, and what a paste or a drop contains.
const LONG_PASTE = 5_000; // characters; a longer paste is easier to handle as a file
const PASTED_NAME = "Pasted text.txt";

/** Formats that browsers show. */
const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);

export const isPicture = ({ type }) => PICTURES.has(type);

/** A size for people, in the units of file managers. */
export function fileSize(bytes) {
  if (bytes === null || bytes === undefined) return "";
  if (bytes < 1000) return bytes === 1 ? "1 byte" : `${bytes} bytes`;
  const [value, unit] = bytes < 999_500 ? [bytes / 1e3, "KB"] : [bytes / 1e6, "MB"];
  return `${value < 9.95 ? value.toFixed(1).replace(/\.0$/, "") : Math.round(value)} ${unit}`;
}

/** A long text as a file; null for a short one. */
export function pastedFile(text) {
  return text.length < LONG_PASTE ? null : new File([text], PASTED_NAME, { type: "text/plain" });
}

/**
 * The files in a paste. Office programs add a picture of the text that was copied, and file managers
 * add the names of the files: a text that is not only names is meant as text.
 */
export function pastedFiles(data) {
  const files = [...data.files];
  const lines = data.getData("text/plain").split(/\r?\n/).filter(Boolean);
  const names = new Set(files.map(({ name }) => name));
  const named = lines.every((line) => names.has(line.split(/[\\/]/).pop()));
  return named ? files : [];
}

/** The files of a drop, and the names of dropped folders, which browsers offer as files. */
export function droppedFiles({ items, files }) {
  const entries = [...items].map((item) => item.webkitGetAsEntry?.());
  const folders = entries.filter((entry) => entry?.isDirectory).map(({ name }) => name);
  return { files: [...files].filter(({ name }) => !folders.includes(name)), folders };
}

/**
 * The files that may be added to those in `had`, and a sentence for each of the others.
 * `limits` are the server's: `most` files, `bytes` of each, `total` bytes.
 */
export function admitted(files, had, { most, bytes, total }) {
  const taken = [];
  const problems = [];
  let left = total - had.reduce((sum, { size }) => sum + size, 0);
  for (const file of files) {
    const full = had.length + taken.length >= most;
    if (full && problems.at(-1)?.full) continue;
    if (full) problems.push({ full, words: `A message takes ${most} ${most === 1 ? "file" : "files"} at most.` });
    else if (file.size > bytes) problems.push({ words: tooLarge(file, `a file may have ${fileSize(bytes)}`) });
    else if (file.size > left) problems.push({ words: tooLarge(file, `a message takes ${fileSize(total)} in total`) });
    else {
      taken.push(file);
      left -= file.size;
    }
  }
  return { taken, problems: problems.map(({ words }) => words) };
}

const tooLarge = ({ name, size }, rule) => `“${name}” is too large (${fileSize(size)}): ${rule}.`;
