// Node's own http, or fastify when it is named: rows come from memory, as Node 20 brings no SQLite.
const fs = require("node:fs"), [, , port, kind, folder] = process.argv;
const rows = JSON.parse(fs.readFileSync(process.env.BENCH_ROWS, "utf8"));
const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const shelves = Array.from({ length: 20 }, (_, n) => `<a href="/shelf/${n}">Shelf ${n}</a>`).join("");
const tr = (row) => `<tr class="row"><td><a href="/articles/${row.id}">${row.id}</a></td><td data-label="Name">${escape(row.name)}</td><td data-label="Price" class="num">${row.price.toFixed(2)}</td><td data-label="Stock" class="num">${row.stock}</td><td data-label="Note">${escape(row.note)}</td></tr>`;
const page = (start) => `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Articles</title></head><body><header><a href="/">Shop</a><nav>${shelves}</nav></header><main><h1>Articles from ${start}</h1><table><thead><tr><th>Id</th><th>Name</th><th>Price</th><th>Stock</th><th>Note</th></tr></thead><tbody>${rows.slice(start - 1, start + 19).map(tr).join("")}</tbody></table></main></body></html>`;
if (kind === "fastify") {
  const app = require(folder + "/node_modules/fastify")();
  app.get("/json/:key", (request) => rows[request.params.key - 1]);
  app.get("/page/:start", (request, reply) => { reply.type("text/html; charset=utf-8"); return page(Number(request.params.start)); });
  app.get("/hello", () => ({ message: "Hello, World!" }));
  app.listen({ port: Number(port), host: "127.0.0.1" });
} else {
  const send = (reply, type, body) => { reply.writeHead(200, { "Content-Type": type, "Content-Length": Buffer.byteLength(body) }); reply.end(body); };
  require("node:http").createServer((request, reply) => {
    const [, what, key] = request.url.split("/");
    if (what === "json") send(reply, "application/json", JSON.stringify(rows[key - 1]));
    else if (what === "page") send(reply, "text/html; charset=utf-8", page(Number(key)));
    else send(reply, "application/json", JSON.stringify({ message: "Hello, World!" }));
  }).listen(Number(port), "127.0.0.1");
}
