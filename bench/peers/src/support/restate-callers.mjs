// Three ways to call Restate's ingress: its own client (fetch), and HTTP/1.1 or HTTP/2 by Node's own modules, which cost less.

import http from "node:http";
import http2 from "node:http2";
import * as clients from "@restatedev/restate-sdk-clients";

function answerOf(status, text) {
  if (status === 200) return JSON.parse(text);
  throw new Error(`Restate answered ${status}: ${text}`);
}

function overHttp1(base) {
  const { hostname, port } = new URL(base);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1024, noDelay: true });
  const call = (path, payload, key) =>
    new Promise((resolve, reject) => {
      const body = JSON.stringify(payload);
      const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
      if (key !== undefined) headers["idempotency-key"] = key;
      const request = http.request({ agent, hostname, port, path, method: "POST", headers }, (answer) => {
        let text = "";
        answer.setEncoding("utf8").on("data", (chunk) => {
          text += chunk;
        });
        answer.on("error", reject).on("end", () => {
          try {
            resolve(answerOf(answer.statusCode, text));
          } catch (error) {
            reject(error);
          }
        });
      });
      request.on("error", reject).end(body);
    });
  return { call, close: () => agent.destroy() };
}

function overHttp2(base) {
  const session = http2.connect(base);
  const call = (path, payload, key) =>
    new Promise((resolve, reject) => {
      const headers = { ":method": "POST", ":path": path, "content-type": "application/json" };
      if (key !== undefined) headers["idempotency-key"] = key;
      const stream = session.request(headers);
      let text = "";
      let status = 0;
      stream.setEncoding("utf8");
      stream
        .on("response", (answer) => {
          status = answer[":status"];
        })
        .on("data", (chunk) => {
          text += chunk;
        })
        .on("error", reject)
        .on("end", () => {
          try {
            resolve(answerOf(status, text));
          } catch (error) {
            reject(error);
          }
        });
      stream.end(JSON.stringify(payload));
    });
  return { call, close: () => session.close() };
}

function overClient(url) {
  const connection = clients.connect({ url });
  const call = (path, payload, idempotencyKey) => {
    const parts = path.split("/").slice(1);
    const options = idempotencyKey === undefined ? [] : [clients.Opts.from({ idempotencyKey })];
    if (parts.length === 2) return connection.serviceClient({ name: parts[0] })[parts[1]](payload, ...options);
    return connection.workflowClient({ name: parts[0] }, parts[1]).workflowSubmit(payload).then((sent) => connection.result(sent));
  };
  return { call, close: () => {} };
}

/** @param {"http1" | "http2" | "client"} kind */
export function httpCaller(kind, base) {
  return { http1: overHttp1, http2: overHttp2, client: overClient }[kind](base);
}
