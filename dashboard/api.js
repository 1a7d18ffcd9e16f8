// Calls to the service: the session's cookie goes by itself, its CSRF token with each change.

export class Problem extends Error {
  constructor(status, body, fields) {
    super(body?.detail || body?.title || `the service answered ${status}`);
    this.status = status;
    this.type = (body?.type || '').replace('urn:breakwater:problem:', '');
    this.retryAfter = Number(fields?.get('Retry-After')) || 0;
  }
}

/** No answer at all: the service or the way to it is gone. */
export class Unreachable extends Error {}

/** Longest wait for an answer, ms. */
const DEADLINE = 8000;

export const api = {
  csrf: null,
  /** Database's clock minus ours, ms. */
  skew: 0,
  /** Called when a session is over. */
  onSignedOut: () => {},

  now() { return Date.now() + this.skew; },

  async call(method, path, { body, tenant, tag, key, quiet } = {}) {
    const headers = {};
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    if (tenant) headers['Breakwater-Tenant'] = tenant;
    if (tag) headers['If-None-Match'] = tag;
    if (key) headers.Authorization = `Bearer ${key}`;
    if (method !== 'GET' && this.csrf) headers['X-CSRF-Token'] = this.csrf;
    let answer;
    try {
      answer = await fetch(path, {
        method, headers, cache: 'no-store', credentials: 'same-origin', redirect: 'error',
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.timeout(DEADLINE),
      });
    } catch (error) {
      throw new Unreachable(error.name === 'TimeoutError' ? 'no answer in time' : 'no connection');
    }
    if (answer.status === 304) return { status: 304 };
    let json = null;
    try {
      const text = await answer.text();
      json = text ? JSON.parse(text) : null;
    } catch {
      if (answer.ok) throw new Unreachable('the answer was cut off');
    }
    if (!answer.ok) {
      const problem = new Problem(answer.status, json, answer.headers);
      if (answer.status === 401 && !quiet) this.onSignedOut(problem);
      throw problem;
    }
    return { status: answer.status, json, tag: answer.headers.get('ETag') };
  },

  async get(path, options) { return (await this.call('GET', path, options)).json; },
  async send(method, path, body, options) {
    return (await this.call(method, path, { body, ...options })).json;
  },

  /** What the route answers, or null where the service has no such route, or not for this key. */
  async optional(path, options) {
    try {
      return await this.get(path, options);
    } catch (error) {
      if (error instanceof Problem && [403, 404, 405, 501].includes(error.status)) return null;
      throw error;
    }
  },

  async signIn(key) {
    const { json } = await this.call('POST', '/v1/session', { body: {}, key, quiet: true });
    this.csrf = json.csrfToken;
    return json;
  },

  /** The session that the browser has; null for none. */
  async session() {
    try {
      const { json } = await this.call('GET', '/v1/session', { quiet: true });
      this.csrf = json.csrfToken;
      return json;
    } catch (error) {
      if (error instanceof Problem && (error.status === 401 || error.status === 404)) return null;
      throw error;
    }
  },

  async signOut() {
    try {
      await this.call('DELETE', '/v1/session', { quiet: true });
    } finally {
      this.csrf = null;
    }
  },
};
