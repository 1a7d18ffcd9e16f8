// One look: are users being hurt, by which provider and region, and what to do.
import { h, number, plural, percent, duration, when, since, until, lasting, panel, table, empty, stateMark, meter, words, tailID } from './ui.js';
import { lastMinutes, outcomeChart, spark } from './charts.js';
import { api } from './api.js';
import { sayRule, sayLabels } from './alerts.js';

/** Alerts that the overview itself names. */
const ALERTS = 4;

/** What to do about each kind of failure. */
const ADVICE = {
  rate_limit: 'The provider throttles us. Lower createsPerSecond of its account, or ask the provider for more.',
  quota: 'The provider’s quota is used up. End sandboxes that nobody needs, or ask the provider for more.',
  auth: 'The provider refuses our key. Check the region’s API key.',
  not_found: 'A template is not there. Check the region’s template map, or set a default template.',
  invalid_request: 'The provider does not take what callers ask for. Look at the failures below.',
  network: 'The provider cannot be reached. Check its address and the way there.',
  timeout: 'The provider answers too late. See its status page.',
  unavailable: 'The provider says that it is down. See its status page.',
  internal: 'The provider fails inside. See its status page, and tell it if it goes on.',
  expired: 'Requests waited longer than their deadline.',
};

/** The worst that is true now: {level, kind, title, detail, steps, since}. Pure, so that it can be tested by itself. */
export function verdict(overview, tenantName = (id) => id?.slice(0, 8)) {
  const { total, kinds, places, waiting } = overview.creations;
  const ended = total.succeeded5m + total.failed5m;
  const share = ended ? total.failed5m / ended : 0;
  const open = overview.breakers.filter((breaker) => breaker.state === 'OPEN' && breaker.operationClass === 'create');
  const half = overview.breakers.filter((breaker) => breaker.state !== 'CLOSED' && !open.includes(breaker));
  const firing = overview.alerts?.firing ?? 0;
  const steps = [];
  const at = (place) => `${place.provider.toUpperCase()} ${place.region}`;
  const worst = places.filter((place) => place.failed5m > 0).slice(0, 3);
  const recent = [...kinds].sort((one, other) => other.count5m - one.count5m).filter((kind) => kind.count5m > 0);
  if (open.length) {
    const first = open[0];
    const whose = overview.scope === 'fleet' ? (/^0+-/.test(first.tenantId) ? ' over all tenants' : ` for ${tenantName(first.tenantId)}`) : '';
    steps.push([first.override ? 'Somebody holds it open' : 'It tests the provider by itself', first.openUntil ? [' ', until(first.openUntil, 'with the next call')] : '',
      '. If you know that the provider works again, ', h('a', { href: '#/breakers' }, 'reset it'), '.']);
    if (recent[0]) steps.push([`Most failures of kind ${words(recent[0].kind)}: `, ADVICE[recent[0].kind] || 'see below.']);
    return {
      level: 'bad', kind: 'refused', steps, since: first.openedAt || first.unclosedSince,
      title: open.length === 1 ? `Users are being refused: ${first.name} ${first.region} is OPEN${whose}`
        : `Users are being refused: ${open.length} breakers are OPEN`,
      detail: ended ? `${plural(total.failed5m, 'request')} of ${number(ended)} failed in the last 5 minutes` : 'New sandboxes are refused at once, without asking the provider',
    };
  }
  if (total.failed5m > 0) {
    for (const kind of recent.slice(0, 2)) steps.push([`${words(kind.kind)}, ${number(kind.count5m)}: `, ADVICE[kind.kind] || 'See the failures below.']);
    const whom = overview.scope === 'fleet' && total.tenantsHurt5m ? `, of ${plural(total.tenantsHurt5m, 'tenant')}` : '';
    return {
      level: share >= 0.05 ? 'bad' : 'warn', kind: 'hurt', steps,
      title: `Users are being hurt: ${percent(share)} of requests failed`,
      detail: `${number(total.failed5m)} of ${number(ended)} in the last 5 minutes${whom}${worst.length ? `, at ${worst.map(at).join(', ')}` : ''}`,
    };
  }
  const trouble = [];
  if (half.length) trouble.push(`${plural(half.length, 'breaker')} not closed`);
  if (firing) trouble.push(plural(firing, 'alert'));
  if (overview.sandboxes.zombies) trouble.push(plural(overview.sandboxes.zombies, 'zombie'));
  if (overview.failingJobs?.length) trouble.push(`${plural(overview.failingJobs.length, 'job')} failing`);
  const calm = ended ? `All ${plural(ended, 'request')} of the last 5 minutes got a sandbox` : 'Nobody asked for a sandbox in the last 5 minutes';
  if (trouble.length) {
    return { level: 'warn', kind: 'trouble', title: `No user is hurt now, but look at: ${trouble.join(', ')}`, detail: calm, steps };
  }
  return {
    level: 'ok', kind: 'well', title: 'All is well', steps,
    detail: waiting.count ? `${calm}; ${number(waiting.count)} under way` : calm,
  };
}

const sum = (points, name) => points.reduce((total, point) => total + (point[name] || 0), 0);

function tile(label, value, detail, chart, level) {
  return h('div', { class: ['tile', level], 'data-key': label }, h('h2', { class: 'label' }, label), h('p', { class: 'value' }, value), h('p', { class: 'note' }, detail), chart);
}

export default {
  id: 'overview', title: 'Overview', icon: 'M3 12l4-5 4 3 6-7',
  can: (scopes) => scopes.some((scope) => ['read', 'admin', 'operator'].includes(scope)),

  render({ overview, tenantName }) {
    const { total, minutes, places, failures } = overview.creations;
    const points = lastMinutes(minutes, api.now());
    const judge = verdict(overview, tenantName);
    const five = total.succeeded5m + total.failed5m;
    const hour = total.succeeded + total.failed;
    const live = overview.sandboxes;
    const fleet = overview.scope === 'fleet';
    const shares = points.map((point) => point.succeeded || point.failed ? (point.succeeded || 0) / ((point.succeeded || 0) + (point.failed || 0)) : null);
    return [
      h('section', { class: `verdict ${judge.level}`, 'aria-label': 'How it is now', 'data-key': 'verdict' },
        h('h1', {}, judge.title),
        h('p', {}, judge.detail, judge.since && ['; open for ', lasting(judge.since)]),
        judge.steps.length > 0 && h('ul', {}, judge.steps.map((step) => h('li', {}, step)))),
      h('div', { class: 'tiles', 'data-key': 'tiles' },
        tile('Requests that got a sandbox', five ? percent(total.succeeded5m / five) : '–',
          hour ? `5 min; ${percent(total.succeeded / hour)} in the hour` : 'no requests in the last hour',
          spark(shares, 'Success by minute, last hour'), five && total.failed5m ? (total.failed5m / five >= 0.05 ? 'bad' : 'warn') : ''),
        tile('Time to sandbox', total.latencyMs ? duration(total.latencyMs.p50) : '–',
          total.latencyMs ? `median; 95th ${duration(total.latencyMs.p95)}, 99th ${duration(total.latencyMs.p99)}` : 'none made in the last hour',
          spark(points.map((point) => point.latencyMs?.p95 ?? null), '95th percentile of the time to a sandbox by minute, last hour')),
        tile('Requests', `${number(hour)}`, `last hour; ${number(overview.creations.waiting.count)} under way`,
          spark(points.map((point) => (point.succeeded || 0) + (point.failed || 0)), 'Requests by minute, last hour')),
        tile('Live sandboxes', number(live.live), `${number(live.expiring5m)} end within 5 min`,
          h('p', { class: 'split' }, ['lost', 'failed'].map((state) => live.endedLastHour[state] ? h('span', { class: 'chip warn' }, `${number(live.endedLastHour[state])} ${state}`) : null),
            live.zombies ? h('span', { class: 'chip bad' }, plural(live.zombies, 'zombie')) : null)),
        tile('Refused by limits', number(overview.denials.calls), 'calls in the last hour', null, overview.denials.calls ? 'warn' : '')),
      h('div', { class: 'columns', 'data-key': 'middle' },
        panel('Requests by minute', { class: 'grow2', note: overview.creations.isTruncated ? 'the newest 20 000 alone' : null }, outcomeChart(points)),
        panel('Needs attention', { class: 'grow1' }, attention(overview, tenantName))),
      panel('Providers and regions', { key: 'places', note: 'where requests were worked off' }, table('Providers and regions', [
        { name: 'Provider', head: true, cell: (row) => row.provider.toUpperCase() },
        { name: 'Region', cell: (row) => row.region },
        { name: 'Breaker', cell: (row) => breakerOf(overview, row) },
        { name: '5 min', cell: (row) => outcome(row.succeeded5m, row.failed5m) },
        { name: 'Hour', wide: true, cell: (row) => outcome(row.succeeded, row.failed) },
        { name: 'Median', numeric: true, wide: true, cell: (row) => duration(row.latencyMs?.p50) },
        { name: '95th', numeric: true, cell: (row) => duration(row.latencyMs?.p95) },
      ], places, { keyOf: (row) => `${row.provider}:${row.region}`, none: 'No requests in the last hour. What a provider and region do will be here.' })),
      panel('Latest failures', { key: 'failures' }, failureTable(failures, fleet, tenantName)),
    ];
  },
};

function outcome(succeeded, failed) {
  const all = succeeded + failed;
  if (!all) return h('span', { class: 'note' }, 'none');
  return h('span', { class: 'outcome' }, meter(succeeded / all, { label: `${number(succeeded)} of ${number(all)} succeeded`, level: failed / all >= 0.05 ? 'bad' : failed ? 'warn' : 'ok' }),
    h('span', { class: failed ? 'failed' : 'note' }, failed ? `${number(failed)} of ${number(all)} failed` : `${number(all)}, none failed`));
}

function breakerOf(overview, place) {
  const found = overview.breakers.find((breaker) => breaker.name.toLowerCase() === place.provider && breaker.region === place.region && breaker.operationClass === 'create');
  return stateMark(found?.state || 'CLOSED', found?.override);
}

export function failureTable(failures, fleet, tenantName) {
  return table('Latest failures', [
    { name: 'At', head: true, cell: (row) => when(row.at) },
    fleet && { name: 'Tenant', cell: (row) => tenantName(row.tenantId) },
    { name: 'Region', cell: (row) => row.region },
    { name: 'Kind', cell: (row) => h('span', { class: 'chip bad' }, words(row.kind)) },
    { name: 'Tries', numeric: true, wide: true, cell: (row) => number(row.tries) },
    { name: 'What it said', class: 'text', cell: (row) => row.error || h('span', { class: 'note' }, 'reported by the caller') },
    { name: 'Request', wide: true, cell: (row) => tailID(row.id) },
  ].filter(Boolean), failures, { stack: true, keyOf: (row) => row.id, none: 'No failures in the last hour.' });
}

function attention(overview, tenantName) {
  const items = [];
  const whose = (id) => overview.scope !== 'fleet' ? '' : /^0+-/.test(id) ? ' · all tenants' : ` · ${tenantName(id)}`;
  for (const breaker of overview.breakers.filter((one) => one.state !== 'CLOSED' || one.override).slice(0, 8)) {
    items.push(h('li', { 'data-key': `b${breaker.tenantId}${breaker.id}` }, h('a', { href: '#/breakers' }, stateMark(breaker.state, breaker.override), `${breaker.name} ${breaker.region} ${breaker.operationClass}`),
      h('span', { class: 'note' }, breaker.state === 'OPEN' && breaker.openUntil ? ['tests ', until(breaker.openUntil, 'with the next call')] : breaker.state === 'HALF_OPEN' ? plural(breaker.probesOut, 'probe') + ' out' : '', whose(breaker.tenantId))));
  }
  const listed = overview.alerts?.items ?? [];
  for (const alert of listed.slice(0, ALERTS)) {
    const firing = alert.state === 'firing';
    const { windowS, ...labels } = alert.labels;
    const of = sayLabels(labels);
    const what = [firing ? alert.severity : 'pending', alert.silenced && 'silenced', alert.inhibited && 'inhibited', alert.acknowledged && 'acknowledged'].filter(Boolean).join(', ');
    items.push(h('li', { 'data-key': `a${alert.id}`, class: firing && alert.severity === 'critical' ? 'bad' : null },
      h('a', { href: '#/alerts' }, h('span', { class: `chip ${firing && alert.severity === 'critical' ? 'bad' : 'warn'}` }, what), sayRule(alert.rule)),
      h('span', { class: 'note' }, of && `${of} · `, since(alert.since), whose(alert.tenantId))));
  }
  const more = (overview.alerts?.firing ?? 0) + (overview.alerts?.pending ?? 0) - Math.min(listed.length, ALERTS);
  if (more > 0) items.push(h('li', { 'data-key': 'more-alerts' }, h('a', { href: '#/alerts' }, `and ${plural(more, 'alert')} more`)));
  for (const sandbox of overview.sandboxes.troubled.slice(0, 8)) {
    const what = sandbox.health === 'zombie' ? 'zombie' : words(sandbox.state);
    items.push(h('li', { 'data-key': `s${sandbox.id}` }, h('a', { href: `#/sandboxes?id=${sandbox.id}&of=${sandbox.tenantId}` }, h('span', { class: 'chip warn' }, what), `sandbox …${sandbox.id.slice(-8)}`),
      h('span', { class: 'note' }, since(sandbox.since), whose(sandbox.tenantId))));
  }
  for (const job of overview.failingJobs || []) items.push(h('li', { 'data-key': `j${job}`, class: 'bad' }, h('a', { href: '#/jobs' }, `job ${job} fails`)));
  return items.length ? h('ul', { class: 'attention' }, items) : empty('Nothing.', 'Open breakers, alerts, stuck, lost or dead sandboxes and failing jobs will be here.');
}
