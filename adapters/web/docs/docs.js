// Renders the OpenAPI description and tries its operations. Everything becomes text, never markup.

/** An element that exists in the page. */
const byId = (id) => /** @type {any} */ (document.getElementById(id));

const DEPTH = 6; // limits examples of recursive schemas

/** An element with attributes and children; strings become text. */
function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

class Description {
  constructor(document) {
    this.document = document;
  }

  /** The schema that a reference names. */
  resolve(schema) {
    if (!schema?.$ref) return schema ?? {};
    const path = schema.$ref.replace(/^#\//, "").split("/");
    return path.reduce((place, key) => place[key], this.document);
  }

  /** Operations by their first tag, in the order of the description. */
  groups() {
    const groups = new Map();
    for (const [path, item] of Object.entries(this.document.paths)) {
      for (const [method, operation] of Object.entries(item)) {
        const tag = operation.tags?.[0] ?? "other";
        if (!groups.has(tag)) groups.set(tag, []);
        groups.get(tag).push({ path, method: method.toUpperCase(), ...operation });
      }
    }
    return groups;
  }

  /** An example value of the schema. */
  example(schema, depth = 0) {
    const known = this.resolve(schema);
    if (depth > DEPTH) return null;
    if (known.default !== undefined && known.default !== null) return known.default;
    if (known.const !== undefined) return known.const;
    if (known.enum) return known.enum[0];
    const choice = known.anyOf ?? known.oneOf;
    if (choice) return this.example(choice[0], depth + 1);
    if (known.type === "object" || known.properties) return this.#object(known, depth);
    if (known.type === "array") return [this.example(known.items, depth + 1)];
    if (known.format === "uuid") return "248f789b-28cd-4cea-8c33-a2621430f81b";
    return { string: "…", integer: 0, number: 0, boolean: false }[known.type] ?? null;
  }

  #object(schema, depth) {
    const entries = Object.entries(schema.properties ?? {});
    return Object.fromEntries(entries.map(([key, one]) => [key, this.example(one, depth + 1)]));
  }

  /** A short name of a schema. */
  kind(schema) {
    const known = this.resolve(schema);
    const choice = known.anyOf ?? known.oneOf;
    if (choice) return choice.map((one) => this.kind(one)).join(" or ");
    if (known.enum) return known.enum.map((value) => JSON.stringify(value)).join(", ");
    if (known.type === "array") return `list of ${this.kind(known.items)}`;
    return [known.title && known.properties ? known.title : known.type, known.format]
      .filter(Boolean)
      .join(", ");
  }
}

class Operation {
  constructor(description, operation) {
    this.description = description;
    this.operation = operation;
    this.fields = new Map();
    this.result = make("pre", { role: "status", "aria-label": "Answer", tabindex: "0" }, "");
  }

  draw() {
    const { method, path, description } = this.operation;
    const head = make(
      "summary",
      {},
      make("code", { class: "method" }, method),
      make("code", { class: "path" }, path),
      make("span", {}, description?.split("\n")[0] ?? ""),
    );
    const node = make("details", {}, head);
    if (description?.includes("\n")) node.append(make("pre", {}, description));
    node.append(...this.#parameters(), ...this.#body(), ...this.#responses(), this.#form());
    return node;
  }

  #parameters() {
    const rows = (this.operation.parameters ?? []).map((parameter) => {
      const needed = parameter.required ? "needed" : "optional";
      const about = [this.description.kind(parameter.schema), parameter.description, needed];
      return make(
        "tr",
        {},
        make("td", {}, make("code", {}, parameter.name)),
        make("td", {}, parameter.in),
        make("td", {}, about.filter(Boolean).join("; ")),
      );
    });
    return rows.length ? [make("h3", {}, "Parameters"), make("table", {}, ...rows)] : [];
  }

  #body() {
    const schema = this.operation.requestBody?.content?.["application/json"]?.schema;
    if (!schema) return [];
    const choice = this.description.resolve(schema).anyOf?.[0] ?? schema;
    const shape = this.description.resolve(choice);
    const required = new Set(shape.required ?? []);
    const rows = Object.entries(shape.properties ?? {}).map(([name, one]) =>
      make(
        "tr",
        {},
        make("td", {}, make("code", {}, name)),
        make("td", {}, this.description.kind(one)),
        make("td", {}, required.has(name) ? "needed" : "optional"),
      ),
    );
    this.sample = JSON.stringify(this.description.example(choice), null, 2);
    return [make("h3", {}, "Body"), make("table", {}, ...rows)];
  }

  #responses() {
    const rows = Object.entries(this.operation.responses).map(([status, response]) => {
      const kinds = Object.entries(response.content ?? {}).map(
        ([type, { schema }]) => `${type}: ${this.description.kind(schema)}`,
      );
      return make(
        "tr",
        {},
        make("td", {}, make("code", {}, status)),
        make("td", {}, response.description),
        make("td", {}, kinds.join("; ")),
      );
    });
    return [make("h3", {}, "Answers"), make("table", {}, ...rows)];
  }

  #form() {
    const form = make("form", {}, make("h3", {}, "Try it"));
    for (const parameter of this.operation.parameters ?? []) {
      form.append(this.#field(parameter.name, make("input", { spellcheck: "false" }), parameter));
    }
    if (this.sample) {
      const box = make("textarea", { rows: "6", spellcheck: "false" });
      box.value = this.sample;
      form.append(this.#field("body", box, { in: "body" }));
    }
    form.append(make("button", { type: "submit" }, "Send"), this.result);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send().catch((error) => (this.result.textContent = String(error)));
    });
    return form;
  }

  #field(name, input, parameter) {
    this.fields.set(name, { input, parameter });
    return make("label", {}, name, make("br"), input);
  }

  async #send() {
    let path = this.operation.path;
    const query = new URLSearchParams();
    const headers = {};
    let body;
    for (const [name, { input, parameter }] of this.fields) {
      if (parameter.in === "path") path = path.replace(`{${name}}`, encodeURIComponent(input.value));
      else if (parameter.in === "body") body = input.value;
      else if (input.value) query.set(name, input.value);
    }
    const token = byId("token").value;
    if (token) headers.Authorization = `Bearer ${token}`;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const address = query.size ? `${path}?${query}` : path;
    const response = await fetch(address, { method: this.operation.method, headers, body });
    await this.#show(response);
  }

  async #show(response) {
    this.result.textContent = `${response.status} ${response.statusText}\n\n`;
    if (response.headers.get("Content-Type")?.includes("json")) {
      this.result.append(JSON.stringify(await response.json(), null, 2));
      return;
    }
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    for (let piece = await reader?.read(); piece && !piece.done; piece = await reader.read()) {
      this.result.append(piece.value);
    }
  }
}

async function main() {
  const description = new Description(await (await fetch("/openapi.json")).json());
  byId("about").textContent = description.document.info.description;
  const main = byId("operations");
  for (const [tag, operations] of description.groups()) {
    main.append(make("h2", {}, tag));
    for (const operation of operations) main.append(new Operation(description, operation).draw());
  }
}

main().catch((error) => {
  byId("about").textContent = `The description could not be read: ${error}`;
});
