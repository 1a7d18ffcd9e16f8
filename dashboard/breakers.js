// Circuit breakers: state, countdown, history, and what an administrator may do to them.
import { h, number, plural, until, since, lasting, when, panel, table, empty, stateMark, words, ask, hourMinute } from './ui.js';
import { ribbon } from './charts.js';
import { api } from './api.js';

const FLEET = '00000000-0000-0000-0000-000000000000';
const DAY = 86_400_000;
/** Whose detail is shown: that one, whatever becomes of it, until another is chosen. */
let chosen = null;
/** The chosen one, where no list has it any more: it is at rest again. */
let kept = null;
let history = null;

const keyOf = (breaker) => `${breaker.tenantId} ${breaker.id}`;
const path = (breaker, rest) => `/v1/breakers/${encodeURIComponent(breaker.id)}${rest}`;

/** Whose breaker it is, for the call: an operator names the tenant, nobody else may. */
const owner = (breaker, context) => context.isOperator && breaker.tenantId !== FLEET ? breaker.tenantId : null;

function all(context) {
  const listed = (context.data.breakers || []).map((breaker) => ({ ...breaker, tenantId: context.overview.tenantId }));
  const known = new Set(listed.map(keyOf));
  // The overview is newer, and of the fleet has those of all tenants.
  const troubled = new Map(context.overview.breakers.map((breaker) => [keyOf(breaker), breaker]));
  const merged = listed.map((breaker) => troubled.get(keyOf(breaker)) ?? breaker);
  const found = [...context.overview.breakers.filter((breaker) => !known.has(keyOf(breaker))), ...merged];
  if (kept && keyOf(kept) === chosen && !found.some((breaker) => keyOf(breaker) === chosen)) found.push(kept);
  return found.sort((one, other) => rank(one) - rank(other));
}
const rank = (breaker) => breaker.state === 'OPEN' ? 0 : breaker.state === 'HALF_OPEN' ? 1 : breaker.override ? 2 : breaker.failureCount ? 3 : 4;

export default {
  id: 'breakers', title: 'Breakers', icon: 'M3 15h4l7-8M17 15h-4',
  every: 10,
  can: (scopes) => scopes.some((scope) => ['read', 'admin', 'operator'].includes(scope)),

  /** Another tenant has other breakers. */
  leave() { chosen = kept = history = null; },

  async load(context) {
    context.data.breakers = (await api.get('/v1/breakers', { tenant: context.tenant })).items;
    if (kept && keyOf(kept) === chosen) {
      const { tenantId } = kept;
      kept = { ...await api.get(path(kept, ''), { tenant: owner(kept, context) }), tenantId };
    }
    const current = choice(context);
    history = current ? await past(current, context) : null;
  },

  render(context) {
    const breakers = all(context);
    const current = choice(context);
    if (!current) {
      return panel('Breakers', {}, empty('All closed, and none was ever open.',
        'A breaker opens when a provider’s region fails five times in a row. It will be here then, with its countdown.'));
    }
    return [
      h('div', { class: 'cards', role: 'list', 'aria-label': 'Breakers', 'data-key': 'cards' }, breakers.map((breaker) => card(breaker, context, breaker === current))),
      detail(current, context),
    ];
  },

  acts: {
    choose: async (element, context) => {
      chosen = element.dataset.id;
      history = null;
      context.redraw();
      await context.reload();
    },
    reset: (element, context) => act(element, context, {
      verb: 'reset', title: 'Reset', action: 'Reset to closed',
      effect: 'It closes at once, its count starts at 0, and all calls go to the provider again.',
    }),
    open: (element, context) => act(element, context, {
      verb: 'force-open', title: 'Force open', action: 'Force open', danger: true, expires: true,
      effect: 'Every call to this provider’s region is refused at once, until then or until somebody resets it.',
    }),
    disable: (element, context) => act(element, context, {
      verb: 'disable', title: 'Disable', action: 'Disable', danger: true, expires: true,
      effect: 'It stops nothing any more, whatever the provider does.',
    }),
    enable: (element, context) => act(element, context, {
      verb: 'enable', title: 'Enable', action: 'Enable', effect: 'It watches and opens by itself again.',
    }),
  },
};

/** The chosen breaker; the worst, where none is. */
function choice(context) {
  const breakers = all(context);
  const current = breakers.find((breaker) => keyOf(breaker) === chosen) ?? breakers[0];
  if (current) {
    chosen = keyOf(current);
    kept = current;
  }
  return current;
}

async function past(breaker, context) {
  return { of: keyOf(breaker), events: (await api.get(path(breaker, '/events?limit=100'), { tenant: owner(breaker, context) })).items };
}

async function act(element, context, { verb, title, action, effect, danger, expires }) {
  const breaker = all(context).find((one) => keyOf(one) === element.dataset.id);
  if (!breaker) return;
  const name = `${breaker.name} ${breaker.region} (${breaker.operationClass})`;
  const whose = context.overview.scope === 'fleet' ? (breaker.tenantId === FLEET ? ' over all tenants' : ` of ${context.tenantName(breaker.tenantId)}`) : '';
  const fields = [{ name: 'reason', label: 'Why (kept in the audit)', required: true, hint: 'For whoever reads this later' }];
  if (expires) fields.push({ name: 'minutes', label: 'Until', options: [['15', 'in 15 minutes'], ['60', 'in an hour'], ['240', 'in 4 hours'], ['', 'it is taken back']] });
  const answers = await ask({ title: `${title} ${name}${whose}`, effect, action, danger, fields });
  if (!answers) return;
  const body = { reason: answers.reason };
  if (answers.minutes) body.expiresAt = new Date(api.now() + Number(answers.minutes) * 60_000).toISOString();
  await context.act(`${name}: ${words(verb)} done`, async () => {
    await api.send('POST', path(breaker, `/${verb}`), body, { tenant: owner(breaker, context) });
  });
}

function card(breaker, context, isChosen) {
  const look = breaker.state === 'OPEN' ? 'open' : breaker.state === 'HALF_OPEN' ? 'half' : breaker.override ? 'off' : 'closed';
  const fleet = context.overview.scope === 'fleet';
  return h('div', { role: 'listitem', 'data-key': keyOf(breaker) }, h('button', {
    type: 'button', class: ['card', look, isChosen && 'chosen'], 'data-act': 'choose', 'data-id': keyOf(breaker), 'aria-pressed': isChosen ? 'true' : 'false',
  },
  h('span', { class: 'title' }, `${breaker.name} ${breaker.region}`, h('span', { class: 'note' }, breaker.operationClass)),
  fleet && h('span', { class: 'note' }, breaker.tenantId === FLEET ? 'over all tenants' : context.tenantName(breaker.tenantId)),
  stateMark(breaker.state, breaker.override),
  h('span', { class: 'count' }, timing(breaker))));
}

function timing(breaker) {
  if (breaker.override && breaker.overrideExpiresAt) return ['ends ', until(breaker.overrideExpiresAt)];
  if (breaker.override) return 'until it is taken back';
  if (breaker.state === 'OPEN' && breaker.openUntil) return ['tests ', h('b', { class: 'countdown' }, until(breaker.openUntil, 'with the next call'))];
  if (breaker.state === 'HALF_OPEN') return breaker.probesOut ? `${plural(breaker.probesOut, 'probe')} out` : 'waits for a call to test with';
  return breaker.failureCount ? `${plural(breaker.failureCount, 'failure')} in a row` : 'no failures';
}

function detail(breaker, context) {
  const events = history?.of === keyOf(breaker) ? history.events : null;
  const button = (name, text, look) => h('button', { type: 'button', class: look, 'data-act': name, 'data-id': keyOf(breaker) }, text);
  const tools = context.mayAdminister && h('div', { class: 'buttons' },
    breaker.override ? button('enable', 'Enable') : null,
    button('reset', 'Reset', breaker.state !== 'CLOSED' ? 'primary' : ''),
    breaker.override ? null : button('open', 'Force open'), breaker.override ? null : button('disable', 'Disable'));
  return panel(`${breaker.name} ${breaker.region}, ${breaker.operationClass}`, { key: 'detail', tools },
    h('dl', { class: 'facts' },
      fact('State', stateMark(breaker.state, breaker.override)),
      fact(breaker.state === 'OPEN' ? 'Next test' : 'Timing', timing(breaker)),
      fact('Failures in a row', number(breaker.failureCount)),
      breaker.unclosedSince && fact('Not closed for', lasting(breaker.unclosedSince)),
      breaker.openings > 1 && fact('Openings in a row', number(breaker.openings))),
    events ? [
      ribbon(`State of the last 24 hours: ${plural(events.filter((event) => event.to === 'OPEN').length, 'opening')}`, spans(events, breaker, api.now()), api.now() - DAY, api.now()),
      table('History', [
        { name: 'At', head: true, cell: (row) => when(row.at) },
        { name: 'Move', cell: (row) => h('span', { class: 'move' }, h('span', { class: 'note' }, words(row.from)), ' → ', stateMark(row.to)) },
        { name: 'Why', cell: (row) => words(row.cause) },
        { name: 'Failures', numeric: true, wide: true, cell: (row) => number(row.failureCount) },
        { name: 'By', wide: true, cell: (row) => row.actor ? h('code', {}, row.actor) : h('span', { class: 'note' }, row.instance) },
        { name: 'Reason', class: 'text', cell: (row) => row.reason || '' },
      ], events.slice(0, 30), { stack: true, keyOf: (row) => String(row.generation), none: 'It never moved.' }),
    ] : h('p', { class: 'note' }, 'Reading its history'));
}

export const fact = (name, value) => h('div', {}, h('dt', {}, name), h('dd', {}, value));

/** Stretches of one state from moves, the newest first. */
export function spans(events, breaker, now) {
  const result = [];
  let end = now;
  for (const event of events) {
    const from = Date.parse(event.at);
    result.push({ from, to: end, state: known(event.to) });
    end = from;
  }
  result.push({ from: now - DAY, to: end, state: events.length ? known(events.at(-1).from) : breaker.state });
  return result.filter((span) => span.to > now - DAY && span.to > span.from).reverse();
}
const known = (state) => state === 'FORCED_OPEN' ? 'OPEN' : ['OPEN', 'HALF_OPEN', 'CLOSED'].includes(state) ? state : 'OFF';
