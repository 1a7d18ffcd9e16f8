// The page: signs in, asks one cheap summary each second, and draws the screen that the address names.
import { api, Problem, Unreachable } from './api.js';
import { h, morph, tickAll, announce, toast, tailID, empty } from './ui.js';
import overview, { verdict } from './overview.js';
import breakers from './breakers.js';
import limits from './limits.js';
import creations from './creations.js';
import sandboxes from './sandboxes.js';
import tenants from './tenants.js';
import alerts from './alerts.js';
import jobs from './jobs.js';
import events from './events.js';

const SCREENS = [overview, breakers, limits, creations, sandboxes, tenants, alerts, jobs, events];
/** How often the summary is asked for, ms; while nobody looks not at all. */
const POLL = 1000;
/** Waits between tries while the service is gone, ms. */
const RETRY = [1000, 1000, 2000, 3000, 5000];
/** After so long without an answer the numbers are grey, ms. */
const STALE = 5000;

const app = document.getElementById('app');
let state = fresh();

function fresh() {
  return {
    session: null, tenant: null, screen: null, overview: null, tag: null, tenants: null, moreTenants: false,
    data: {}, offered: new Set(), seenAt: 0, failure: null, failures: 0, paused: false, loadedAt: 0, told: null, readTenantsAt: 0,
  };
}

/** What screens get. */
const context = {
  get overview() { return state.overview; },
  get session() { return state.session; },
  get data() { return state.data; },
  get tenant() { return state.tenant; },
  get tenants() { return state.tenants; },
  get moreTenants() { return state.moreTenants; },
  get isOperator() { return state.session.scopes.includes('operator'); },
  get mayAdminister() { return state.session.scopes.some((scope) => ['admin', 'operator'].includes(scope)); },
  get mayStop() { return state.session.scopes.some((scope) => ['sandbox', 'admin', 'operator'].includes(scope)); },
  tenantName: (id) => state.tenants?.find((line) => line.tenantId === id)?.name ?? (/^0+-/.test(id ?? '') ? 'fleet' : `…${(id ?? '').slice(-8)}`),
  chooseTenant,
  redraw: draw,
  /** Reads anew, though the same is being read: what is wanted of it may be another. */
  async reload() { state.data = { ...state.data }; await load(); },
  readTenants,

  /** Does something and says how it went; then everything is read anew. */
  async act(done, work) {
    try {
      await work();
      toast(done);
      state.tag = null;
      await poll();
      await this.reload();
    } catch (error) {
      toast(error.message, true);
    }
  },
};

// Signing in and out

async function start() {
  state = fresh();
  let session;
  try {
    session = await api.session();
  } catch (error) {
    return signInPage(`The service does not answer: ${error.message}. Trying again.`, true);
  }
  return session ? begin(session) : signInPage();
}

async function begin(session) {
  state = fresh();
  state.session = session;
  readAddress();
  api.onSignedOut = () => { if (state.session) signInPage('Your session has ended. Sign in again.'); };
  frame();
  await poll();
  await offer();
  await go();
  listen();
}

let waiting = null;
function signInPage(message, retry) {
  clearTimeout(waiting);
  stopListening();
  api.onSignedOut = () => {};
  state = fresh();
  const form = h('form', { class: 'sign-in', 'aria-labelledby': 'sign-in-title' },
    h('img', { src: '/dashboard/icon.svg', alt: '', width: 40, height: 40 }),
    h('h1', { id: 'sign-in-title' }, 'Breakwater'),
    h('p', { class: 'note' }, 'Sign in with an API key. An operator’s key shows the fleet, a tenant’s its own.'),
    h('p', { class: 'field' }, h('label', { for: 'key' }, 'API key'),
      h('input', { id: 'key', name: 'key', type: 'password', autocomplete: 'off', spellcheck: 'false', required: true, placeholder: 'e2b_…', 'aria-describedby': 'sign-in-message' })),
    h('p', { id: 'sign-in-message', class: 'message', role: 'alert' }, message || ''),
    h('p', { class: 'buttons' }, h('button', { type: 'submit', class: 'primary' }, 'Sign in')),
    h('p', { class: 'note small' }, 'The browser keeps a cookie that ends with the key, not the key itself.'));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const key = form.key.value.trim();
    const place = form.querySelector('.message');
    place.textContent = '';
    if (!/^[\x21-\x7e]+$/.test(key)) { place.textContent = 'That is no key.'; return; }
    form.querySelector('button').disabled = true;
    try {
      await begin(await api.signIn(key));
    } catch (error) {
      place.textContent = error instanceof Problem && error.status === 401 ? 'This key is not known, or not good any more.'
        : error instanceof Problem && error.status === 429 ? `Too many wrong keys came from here. Try again in ${error.retryAfter || 1} s.`
          : error.message;
      form.querySelector('button').disabled = false;
      form.key.select();
    }
  });
  app.replaceChildren(h('main', { id: 'main', class: 'door' }, form));
  form.key.focus();
  document.title = 'Breakwater';
  if (retry) waiting = setTimeout(start, 2000);
}

async function signOut() {
  try { await api.signOut(); } catch (error) { if (!(error instanceof Problem)) { toast(error.message, true); return; } }
  signInPage('You are signed out.');
}

// Address: #/screen?tenant=…

function readAddress() {
  const [name, query] = location.hash.replace(/^#\/?/, '').split('?');
  const parameters = new URLSearchParams(query);
  state.screen = SCREENS.find((screen) => screen.id === name) ?? overview;
  return parameters;
}

async function go() {
  if (!state.session) return;
  const parameters = readAddress();
  if (!state.offered.has(state.screen.id)) state.screen = SCREENS.find((screen) => state.offered.has(screen.id)) ?? overview;
  state.data = {};
  state.loadedAt = 0;
  const screen = state.screen;
  frame();
  document.querySelector('main')?.scrollTo(0, 0);
  await screen.enter?.(context, parameters);
  await load();
}

function chooseTenant(id) {
  state.tenant = id || null;
  state.screen?.leave?.();
  state.overview = state.tag = null;
  state.data = {};
  state.loadedAt = 0;
  frame();
  // A summary of the tenant before may be on its way.
  return poll().then(() => state.overview ?? poll()).then(load);
}

/** Which screens this key and this service have. */
async function offer() {
  const scopes = state.session.scopes;
  for (const screen of SCREENS) {
    if (!screen.can(scopes)) continue;
    if (screen.probe) {
      try { if (await api.optional(screen.probe) === null) continue; } catch { continue; }
    }
    state.offered.add(screen.id);
  }
}

// Reading

let polling = null;
async function poll() {
  if (polling) return polling;
  polling = pollOnce().finally(() => { polling = null; });
  return polling;
}

async function pollOnce() {
  if (!state.session) return;
  const asked = state;
  const tenant = state.tenant;
  try {
    const answer = await api.call('GET', '/v1/overview', { tag: state.tag, tenant });
    if (asked !== state || tenant !== state.tenant) return;
    const wasGone = state.failure;
    Object.assign(state, { seenAt: Date.now(), failure: null, failures: 0 });
    if (answer.status === 200) {
      state.tag = answer.tag;
      state.overview = answer.json;
      api.skew = Date.parse(answer.json.at) - Date.now();
      await extras();
      // Another tenant may have been chosen meanwhile.
      if (asked !== state || tenant !== state.tenant || !state.overview) return;
      draw();
      speak();
      if (Date.now() - state.loadedAt > 900) load();
    } else if (wasGone) draw();
  } catch (error) {
    if (asked !== state) return;
    if (!(error instanceof Problem || error instanceof Unreachable)) throw error;
    if (error.status === 403) { state.offered.clear(); }
    state.failure = error;
    state.failures += 1;
    draw();
  }
  status();
}

/** What stands beside the summary: the names of tenants. */
async function extras() {
  if (context.isOperator && Date.now() - state.readTenantsAt > 10_000) await readTenants().catch(() => {});
}

async function readTenants() {
  const page = await api.get('/v1/admin/overview?limit=200');
  state.tenants = page.items;
  state.moreTenants = page.nextCursor !== null;
  state.readTenantsAt = Date.now();
  picker();
}

let loading = null;
/** Reads what the screen shows beside the summary. What comes for another screen or tenant than is shown by then is dropped. */
async function load() {
  const { screen, data, session } = state;
  if (!session || !state.overview || !screen?.load) return draw();
  if (loading?.data === data) return loading.work;
  state.loadedAt = Date.now();
  const view = Object.create(context, Object.fromEntries(Object.entries({
    data, session, overview: state.overview, tenant: state.tenant,
  }).map(([name, value]) => [name, { value }])));
  const work = (async () => {
    try {
      await screen.load(view);
      delete data.error;
    } catch (error) {
      if (!(error instanceof Problem || error instanceof Unreachable)) throw error;
      if (error instanceof Problem && error.status !== 401) data.error = error;
    }
  })();
  loading = { data, work };
  try { await work; } finally { if (loading?.work === work) loading = null; }
  if (data === state.data) draw();
}

/** The worst condition, said once when it changes. */
function speak() {
  const { level, kind, title } = verdict(state.overview, context.tenantName);
  if (state.told !== null && `${level} ${kind}` !== state.told) announce(title);
  state.told = `${level} ${kind}`;
  document.title = `${level === 'bad' ? '● ' : level === 'warn' ? '○ ' : ''}Breakwater`;
}

async function beat() {
  tickAll();
  status();
  if (!state.session || document.hidden || state.paused) return;
  const wait = state.failures ? RETRY[Math.min(state.failures - 1, RETRY.length - 1)] : POLL;
  if (Date.now() - (state.triedAt || 0) < wait - 50) return;
  state.triedAt = Date.now();
  await poll();
  if (state.screen?.every && !state.failure && Date.now() - state.loadedAt >= state.screen.every * 1000) load();
}

// Hints: something happened, ask now. Without such a stream the page polls.

let stream = null;
let hinted = null;
function listen() {
  stopListening();
  if (!state.offered.has('events')) return;
  stream = new EventSource('/v1/events/stream');
  const hint = () => {
    if (hinted || document.hidden || state.paused) return;
    hinted = setTimeout(async () => { hinted = null; await poll(); if (state.screen === events) context.reload(); }, 100);
  };
  stream.onmessage = hint;
  // Too slow: the browser comes back by itself. A key that is good no more: the next poll says so.
  stream.addEventListener('end', (event) => { if (event.data.includes('unauthorized')) stopListening(); });
}
function stopListening() { stream?.close(); stream = null; }

// Drawing

function frame() {
  const link = (screen) => h('a', {
    href: `#/${screen.id}`, 'aria-current': screen === state.screen ? 'page' : null, 'data-key': screen.id,
  }, h('svg', { viewBox: '0 0 20 20', width: 18, height: 18, 'aria-hidden': 'true' }, h('path', { d: screen.icon, fill: 'none', stroke: 'currentColor', 'stroke-width': 1.6, 'stroke-linecap': 'round', 'stroke-linejoin': 'round' })),
  h('span', {}, screen.titleFor?.(context) ?? screen.title));
  const page = h('div', { id: 'app' },
    h('header', { class: 'bar' },
      h('a', { class: 'brand', href: '#/overview' }, h('img', { src: '/dashboard/icon.svg', alt: '', width: 22, height: 22 }), 'Breakwater'),
      h('div', { class: 'who' }, context.isOperator ? h('label', { class: 'pick' }, h('span', { class: 'sr' }, 'Tenant'), h('select', { id: 'tenant', 'data-global': 'tenant', 'data-keep': true }, h('option', { value: '' }, 'All tenants')))
        : h('span', { class: 'note' }, 'Tenant ', tailID(state.session.tenantId))),
      h('div', { id: 'status', class: 'status', 'data-keep': true }),
      h('div', { class: 'buttons' },
        h('button', { type: 'button', class: 'quiet', 'data-global': 'pause', 'aria-pressed': state.paused ? 'true' : 'false', title: 'Stop the page from changing' }, state.paused ? 'Go on' : 'Pause'),
        h('button', { type: 'button', class: 'quiet', 'data-global': 'sign-out', title: `Signed in with key ${state.session.keyId}` }, 'Sign out'))),
    h('nav', { 'aria-label': 'Screens' }, SCREENS.filter((screen) => state.offered.has(screen.id)).map(link)),
    h('main', { id: 'main', tabindex: '-1' }));
  const old = document.getElementById('app');
  if (old.querySelector('nav')) {
    morph(old.querySelector('header'), page.querySelector('header'));
    morph(old.querySelector('nav'), page.querySelector('nav'));
    old.querySelector('nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  } else {
    old.replaceChildren(...page.childNodes);
  }
  picker();
  status();
  draw();
}

function picker() {
  const select = document.getElementById('tenant');
  if (!select || !state.tenants) return;
  const names = [['', 'All tenants'], ...[...state.tenants].sort((one, other) => one.name.localeCompare(other.name)).map((line) => [line.tenantId, line.name])];
  if (state.tenant && !names.some(([id]) => id === state.tenant)) names.push([state.tenant, context.tenantName(state.tenant)]);
  const fresh = h('select', {}, names.map(([value, text]) => h('option', { value }, text)));
  if (fresh.innerHTML !== select.innerHTML) select.replaceChildren(...fresh.childNodes);
  if (document.activeElement !== select) select.value = state.tenant ?? '';
}

function draw() {
  const main = document.getElementById('main');
  if (!main || !state.session) return;
  const page = h('main', { id: 'main', tabindex: '-1', class: `screen-${state.screen.id}` });
  if (!state.offered.size && state.failure?.status === 403) page.append(empty('This key may not read.', 'The dashboard needs a key with the scope read, admin or operator.'));
  else if (!state.overview) page.append(state.failure ? empty('The service does not answer.', `${state.failure.message}. Trying again.`) : h('p', { class: 'note' }, 'Reading'));
  else {
    page.append(...[state.screen.render(context)].flat(2).filter(Boolean));
    if (state.data.error) page.prepend(h('p', { class: 'problem', role: 'alert' }, `A part could not be read: ${state.data.error.message}`));
  }
  if (state.screen !== overview) page.prepend(h('h1', { class: 'sr' }, state.screen.titleFor?.(context) ?? state.screen.title));
  if (state.paused && draw.screen === state.screen) return;
  draw.screen = state.screen;
  morph(main, page);
}

/** How old what is shown is, and why. */
function status() {
  const place = document.getElementById('status');
  if (!place || !state.session) return;
  const age = Date.now() - state.seenAt;
  const isStale = state.seenAt && age > STALE;
  document.body.classList.toggle('stale', Boolean(isStale || state.failure && !state.paused));
  const old = state.seenAt ? `last update ${age < 1500 ? 'just now' : `${Math.round(age / 1000)}\u2009s ago`}` : 'no update yet';
  const [look, text] = state.paused ? ['paused', `Paused, ${old}`]
    : state.failure ? ['gone', `${state.failure instanceof Problem ? 'The service cannot answer' : 'Reconnecting'}, ${old}`]
      : isStale ? ['gone', `Stale, ${old}`] : ['live', `Live, ${old}`];
  const fresh = h('div', { id: 'status', class: `status ${look}`, 'data-keep': true, title: state.failure?.message ?? '' },
    h('svg', { viewBox: '0 0 10 10', width: 10, height: 10, 'aria-hidden': 'true' }, look === 'live' ? h('circle', { cx: 5, cy: 5, r: 4, fill: 'currentColor' })
      : look === 'paused' ? h('path', { d: 'M2 1h2v8H2zM6 1h2v8H6z', fill: 'currentColor' }) : h('path', { d: 'M5 0l5 9H0z', fill: 'currentColor' })),
    h('span', {}, text));
  place.className = fresh.className;
  place.title = fresh.title;
  if (place.textContent !== text || !place.firstChild) place.replaceChildren(...fresh.childNodes);
}

// What people do

const GLOBAL = {
  'sign-out': signOut,
  pause: () => { state.paused = !state.paused; frame(); if (!state.paused) { draw(); beat(); } },
  tenant: (element) => chooseTenant(element.value || element.dataset.id),
};

document.addEventListener('click', (event) => {
  const element = event.target.closest?.('[data-act], button[data-global]');
  if (!element || !state.session) return;
  const work = element.dataset.global ? GLOBAL[element.dataset.global] : state.screen?.acts?.[element.dataset.act];
  Promise.resolve(work?.(element, context)).catch((error) => {
    if (!(error instanceof Problem || error instanceof Unreachable)) throw error;
    toast(error.message, true);
  });
});
document.addEventListener('change', (event) => {
  const { global: name, change } = event.target.dataset ?? {};
  if (name === 'tenant') chooseTenant(event.target.value);
  else if (change) state.screen.acts?.[change]?.(event.target, context);
});
window.addEventListener('hashchange', () => go());
document.addEventListener('visibilitychange', () => { if (!document.hidden) beat(); });
setInterval(beat, 250);
start();
