// Sandboxes: those that live, and one's whole story.
import { h, number, plural, when, since, until, panel, table, empty, words, tailID, ask } from './ui.js';
import { fact } from './breakers.js';
import { fleetHint } from './tenants.js';
import { api } from './api.js';

const FILTERS = {
  live: ['Live', 'creating,create_unknown,booting,running,paused,stopping,orphan'],
  trouble: ['In trouble', 'create_unknown,stopping,orphan,lost,failed'],
  ended: ['Ended', 'stopped,failed,lost'],
  all: ['All', ''],
};
let filter = 'live';
let chosen = null;
let story = null;
let limit = 50;

export default {
  id: 'sandboxes', title: 'Sandboxes', icon: 'M4 7l6-3 6 3v6l-6 3-6-3zM4 7l6 3 6-3M10 10v6',
  every: 5,
  can: (scopes) => scopes.some((scope) => ['sandbox', 'read', 'operator'].includes(scope)),

  /** The address names a sandbox: #/sandboxes?id=… */
  async enter(context, parameters) {
    const id = parameters.get('id');
    if (id && id !== chosen) { chosen = id; story = null; }
    const of = parameters.get('of');
    if (of && context.isOperator && context.tenant !== of) context.chooseTenant(of);
  },

  async load(context) {
    if (context.overview.scope === 'fleet') return;
    const states = FILTERS[filter][1];
    const [list] = await Promise.all([
      api.get(`/v1/sandboxes?limit=${limit}${states ? `&state=${states}` : ''}`, { tenant: context.tenant }),
      chosen ? read(context) : null,
    ]);
    context.data.sandboxes = list;
  },

  render(context) {
    const { sandboxes } = context.overview;
    const strip = h('div', { class: 'tiles small', 'data-key': 'states' },
      Object.entries(sandboxes.states).map(([state, count]) => tile(words(state), count, ['create_unknown', 'orphan'].includes(state) ? 'warn' : '')),
      tile('end in 5 min', sandboxes.expiring5m), tile('lost, last hour', sandboxes.endedLastHour.lost || 0, sandboxes.endedLastHour.lost ? 'warn' : ''),
      tile('zombies', sandboxes.zombies, sandboxes.zombies ? 'bad' : ''));
    if (context.overview.scope === 'fleet') {
      return [strip, panel('To look at', { key: 'troubled' }, table('Sandboxes in trouble', [
        { name: 'Sandbox', head: true, cell: (row) => h('a', { href: `#/sandboxes?id=${row.id}&of=${row.tenantId}` }, tailID(row.id)) },
        { name: 'Tenant', cell: (row) => context.tenantName(row.tenantId) },
        { name: 'State', cell: (row) => stateChip(row) }, { name: 'Why', cell: (row) => words(row.reason) },
        { name: 'Region', cell: (row) => row.region }, { name: 'Since', cell: (row) => since(row.since) },
      ], sandboxes.troubled, { keyOf: (row) => row.id, none: 'None is stuck, lost or dead.' })),
      fleetHint('Sandboxes belong to tenants.', context, (line) => line.liveSandboxes, 'live')];
    }
    const list = context.data.sandboxes;
    const picker = h('div', { class: 'segments', role: 'group', 'aria-label': 'Which sandboxes' }, Object.entries(FILTERS).map(([name, [text]]) => h('button', {
      type: 'button', 'data-act': 'filter', 'data-id': name, 'aria-pressed': name === filter ? 'true' : 'false',
    }, text)));
    return [
      strip,
      chosen && storyPanel(context),
      panel('Sandboxes', { key: 'list', tools: picker }, list ? [
        table('Sandboxes', [
          { name: 'Sandbox', head: true, cell: (row) => h('button', { type: 'button', class: 'link', 'data-act': 'story', 'data-id': row.id, 'aria-label': `Story of sandbox ${row.id}` }, tailID(row.id)) },
          { name: 'State', cell: (row) => stateChip(row) },
          { name: 'Ends', cell: (row) => row.endedAt ? when(row.endedAt) : row.endsAt && row.state !== 'paused' ? until(row.endsAt, row.autoPause ? 'to be paused' : 'over') : '–' },
          { name: 'Template', wide: true, cell: (row) => row.template },
          { name: 'Region', wide: true, cell: (row) => row.region },
          { name: 'Made', wide: true, cell: (row) => since(row.createdAt) },
          { name: 'At the provider', wide: true, cell: (row) => row.sandboxId ? h('code', {}, row.sandboxId) : '–' },
        ], list.items, { keyOf: (row) => row.id, rowClass: (row) => row.id === chosen && 'chosen', none: 'None of these.' }),
        list.nextCursor && limit < 200 && h('p', {}, h('button', { type: 'button', 'data-act': 'more' }, 'Show more')),
      ] : h('p', { class: 'note' }, 'Reading')),
    ];
  },

  acts: {
    filter: async (element, context) => { filter = element.dataset.id; limit = 50; context.redraw(); await context.reload(); },
    more: async (element, context) => { limit = 200; await context.reload(); },
    story: async (element, context) => {
      chosen = element.dataset.id;
      story = null;
      context.redraw();
      await context.reload();
      document.querySelector('[data-key=story]')?.scrollIntoView({ block: 'nearest' });
    },
    close: (element, context) => { chosen = story = null; context.redraw(); },
    kill: async (element, context) => {
      const answers = await ask({ title: `Stop sandbox …${chosen.slice(-8)}`, effect: 'It is killed at the provider. What runs in it is lost.', action: 'Stop it', danger: true });
      if (answers) await context.act('It is being stopped', () => api.send('DELETE', `/v1/sandboxes/${chosen}`, undefined, { tenant: context.tenant }));
    },
  },
};

async function read(context) {
  const id = chosen;
  const [row, events] = await Promise.all([
    api.optional(`/v1/sandboxes/${id}`, { tenant: context.tenant }),
    api.optional(`/v1/sandboxes/${id}/events`, { tenant: context.tenant }),
  ]);
  const request = row ? await api.optional(`/v1/sandbox-requests/${row.requestId}`, { tenant: context.tenant }) : null;
  if (id === chosen) story = { row, events: events?.items || [], request };
}

const tile = (label, count, level) => h('div', { class: ['tile', level], 'data-key': label }, h('h2', { class: 'label' }, label), h('p', { class: 'value' }, number(count)));

const LEVEL = { create_unknown: 'warn', orphan: 'warn', lost: 'warn', failed: 'bad', running: 'ok', booting: 'ok', paused: 'ok' };
function stateChip(row) {
  return [h('span', { class: `chip ${LEVEL[row.state] || ''}` }, words(row.state)), row.health === 'zombie' && h('span', { class: 'chip bad' }, 'zombie')];
}

function storyPanel(context) {
  const tools = h('div', { class: 'buttons' },
    context.mayStop && story?.row && !story.row.endedAt && h('button', { type: 'button', 'data-act': 'kill' }, 'Stop it'),
    h('button', { type: 'button', 'data-act': 'close' }, 'Close'));
  if (!story) return panel('Story', { key: 'story', tools }, h('p', { class: 'note' }, 'Reading'));
  if (!story.row) return panel('Story', { key: 'story', tools }, empty('There is no such sandbox here.'));
  const { row, events, request } = story;
  const steps = [
    request && { at: request.createdAt, text: 'Asked for', detail: `${request.template}${request.framework ? `, ${request.framework}` : ''} in ${request.region}` },
    ...events.map((event) => ({ at: event.at, text: words(event.to), detail: [event.reason && words(event.reason), h('span', { class: 'note' }, ` by ${event.actor}`)], level: LEVEL[event.to] })),
    request?.endedAt && { at: request.endedAt, text: `Request ${words(request.state)}`, detail: [plural(request.attempts, 'try', 'tries'), request.fellBack && ', fell back', request.error && `: ${request.error}`], level: request.state === 'fulfilled' ? 'ok' : 'bad' },
  ].filter(Boolean).sort((one, other) => Date.parse(one.at) - Date.parse(other.at));
  return panel(`Story of …${row.id.slice(-8)}`, { key: 'story', tools },
    h('dl', { class: 'facts' },
      fact('State', stateChip(row)), fact('Template', row.template), fact('Region', row.region),
      fact(row.endedAt ? 'Ended' : 'Ends', row.endedAt ? since(row.endedAt) : row.endsAt ? until(row.endsAt, 'over') : '–'),
      fact('At the provider', row.sandboxId ? h('code', {}, row.sandboxId) : '–'), fact('Id', h('code', { class: 'whole' }, row.id))),
    h('ol', { class: 'story' }, steps.map((step, index) => h('li', { class: step.level, 'data-key': `${step.at}${step.text}` },
      when(step.at), h('b', {}, step.text), h('span', {}, step.detail),
      index > 0 && h('span', { class: 'note gap' }, `+${((Date.parse(step.at) - Date.parse(steps[index - 1].at)) / 1000).toFixed(1)}\u2009s`)))));
}
