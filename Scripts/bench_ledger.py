"""The measurements of Scripts/bench-ledger.

A section runs its cells in turn, in every round all of them and every second round in reverse, and
compares only cells of the same round: what disturbs the machine disturbs both sides. Printed are the
medians of the rounds' ratios with the least and the greatest, and pass or miss for each bar.
"""
import json, os, platform, re, shutil, socket, statistics, subprocess, sys, tempfile, threading, time
from service import Service, free_port, program, root

binary = os.path.abspath(sys.argv[1])
sections = sys.argv[2:] or ["sql", "http", "lone", "check", "libraries"]
rounds = int(os.environ.get("BENCH_ROUNDS", 5))
seconds = float(os.environ.get("BENCH_SECONDS", 3))
flat_minutes = int(os.environ.get("BENCH_FLAT_MINUTES", 10))
scratch = tempfile.mkdtemp(prefix="bw-bench-", dir="/tmp")
os.chmod(scratch, 0o755)
missed = []


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, **options)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} ended with {done.returncode}:\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}")
    return done.stdout


# MARK: Rounds and bars

class Rounds:
    """Figures of cells, by name, one a round."""

    def __init__(self, cells):
        self.figures = {name: [] for name, _ in cells}
        for number in range(rounds):
            for name, measure in (cells if number % 2 == 0 else list(reversed(cells))):
                self.figures[name].append(measure())

    def median(self, name):
        return statistics.median(self.figures[name])

    def ratios(self, one, other):
        return [a / b for a, b in zip(self.figures[one], self.figures[other])]

    def table(self, unit):
        print(f"\n| | {unit}, median [min-max] |\n|---|---|")
        for name, values in self.figures.items():
            print(f"| {name} | {figure(statistics.median(values))} [{figure(min(values))}-{figure(max(values))}] |")
        print(flush=True)


def figure(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def heads():
    print("| | ratio, median [min-max] | bar | |\n|---|---|---|---|")


def bar(what, values, at_least=None, at_most=None):
    middle = statistics.median(values)
    wanted, holds = "", True
    if at_least is not None:
        wanted, holds = f">= {at_least}", middle >= at_least
    if at_most is not None:
        wanted, holds = f"<= {at_most}", middle <= at_most
    verdict = "" if not wanted else "pass" if holds else "**miss**"
    if not holds:
        missed.append(what)
    print(f"| {what} | {middle:.2f} [{min(values):.2f}-{max(values):.2f}] | {wanted} | {verdict} |", flush=True)


# MARK: Who is compared

class Naive:
    """pgbench with one row a transaction: a UUID made by default, text operation, one index more."""

    def __init__(self, service):
        self.service = service
        self.folder = service.socket_folder()
        service.sql("CREATE DATABASE naive", database="postgres")
        self.sql("CREATE TABLE record (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL, "
                 "operation text NOT NULL, at timestamptz NOT NULL DEFAULT now())",
                 "CREATE INDEX record_key ON record (tenant_id, operation, at)")
        self.script = os.path.join(scratch, "naive.sql")
        with open(self.script, "w") as file:
            file.write("\\set key random(0, 999)\n"
                       "INSERT INTO record (tenant_id, operation) VALUES "
                       "('018f0000-0000-7000-8000-000000000001', 'operation-' || :key);\n")

    def sql(self, *statements):
        return self.service.sql(*statements, database="naive")

    def insert(self, clients):
        """Rows a second."""
        self.sql("TRUNCATE record")
        text = run(program("pgbench"), "-n", "-M", "prepared", "-h", self.folder, "-U", "breakwater", "-c", clients,
                   "-j", min(clients, 2), "-T", max(1, round(seconds)), "-f", self.script, "naive")
        return float(re.search(r"tps = ([\d.]+)", text)[1])

    def median_us(self, script, database="naive"):
        """The median time of a script's transaction with one client, in microseconds."""
        path, log = os.path.join(scratch, "one.sql"), os.path.join(scratch, "times")
        with open(path, "w") as file:
            file.write(script)
        run(program("pgbench"), "-n", "-M", "prepared", "-h", self.folder, "-U", "breakwater", "-c", 1, "-l",
            "--log-prefix", log, "-T", max(1, round(seconds)), "-f", path, database)
        times = []
        for name in os.listdir(scratch):
            if name.startswith("times."):
                times += [int(line.split()[2]) for line in open(os.path.join(scratch, name))]
                os.unlink(os.path.join(scratch, name))
        return statistics.median(times)


class Redis:
    """A private Redis that flushes at each write, and a sliding-window log in Lua."""

    script = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 3600000000)
local count = redis.call('ZCARD', KEYS[1])
if count >= 1000000000 then return {0, count} end
redis.call('ZADD', KEYS[1], now, now .. '-' .. count)
redis.call('PEXPIRE', KEYS[1], 3600000)
return {1, count + 1}
"""

    def __init__(self):
        self.port = free_port()
        folder = os.path.join(scratch, "redis")
        os.mkdir(folder)
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", folder, "--save", "",
             "--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"],
            stdout=subprocess.DEVNULL)
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        self.sha = self.call("SCRIPT", "LOAD", self.script).strip()

    def call(self, *command):
        return run("redis-cli", "-p", self.port, *command)

    def decide(self, clients, pipeline, keys):
        """Decisions a second, keys drawn uniformly."""
        def measure(count):
            self.call("FLUSHALL")
            text = run("redis-benchmark", "-p", self.port, "-c", clients, "-P", pipeline, "-r", keys, "-n", count,
                       "--csv", "EVALSHA", self.sha, 1, "key:__rand_int__")
            return float(text.strip().splitlines()[-1].rsplit('",')[1].strip('"'))
        return measure(int(max(20_000, measure(20_000) * seconds)))

    def end(self):
        self.process.terminate()
        self.process.wait()


class Ours:
    """One instance with its private PostgreSQL, as shipped."""

    def __init__(self, name="", settings=()):
        self.service = Service(binary, scratch, name)
        self.service.start(settings=settings)
        self.tenant, self.key = self.service.make_tenant("bench")
        self.url = f"http://127.0.0.1:{self.service.port}"

    def database(self):
        return f"postgresql:///breakwater?host={self.service.socket_folder()}&user=bw_app"

    def empty(self):
        self.service.sql("TRUNCATE usage_log, usage_minute, usage_hour, request_record")

    def batches(self, *options):
        """Decisions a second in batches, without HTTP; see `breakwater help bench-ledger`."""
        self.empty()
        answer = json.loads(run(binary, "bench-ledger", "--database", self.database(), "--max-keys", 500,
                                "--warm-up", 0.5, "--duration", seconds, *options))
        assert answer["denied"] == 0, answer
        return answer["decisionsPerS"]

    def load(self, *options, duration=None, empty=True, warm_up=0.5, url=None):
        """What `breakwater bench` says."""
        if empty:
            self.empty()
        return json.loads(run(binary, "bench", "--json", "--url", url or self.url, "--key", self.key,
                              "--warm-up", warm_up, "--duration", duration or seconds, *options))

    def rate(self, *options, **more):
        return self.load(*options, **more)["requestsPerS"]

    def p50(self, *options, **more):
        return self.load("--connections", 1, *options, **more)["latencyMs"]["p50"] * 1000


# MARK: Sections

def sql_layer(ours, naive, redis):
    """Batches of 1,000, durable, on two connections: the ledger's own merging and statement."""
    cells = [
        ("pgbench naive insert, 4 clients", lambda: naive.insert(4)),
        ("acquire, 10,000 keys, zipf", lambda: ours.batches("--distribution", "zipf")),
        ("acquire, 10,000 keys, uniform", lambda: ours.batches("--distribution", "uniform")),
        ("acquire, one hot key", lambda: ours.batches("--distribution", "one", "--batches", 2)),
        ("Redis sliding log, always, pipeline 16, 50 clients", lambda: redis.decide(50, 16, 10_000)),
    ]
    done = Rounds(cells)
    print("\n### SQL layer: batches of 1,000, durable")
    done.table("decisions/s")
    heads()
    names = [name for name, _ in cells]
    bar("zipf to naive insert", done.ratios(names[1], names[0]), at_least=10)
    bar("uniform to naive insert", done.ratios(names[2], names[0]), at_least=7)
    bar("hot key to naive insert", done.ratios(names[3], names[0]), at_least=150)
    bar("zipf to Redis", done.ratios(names[1], names[4]), at_least=1.3)
    bar("uniform to Redis", done.ratios(names[2], names[4]), at_least=1.0)


def http_layer(ours, naive, redis):
    cells = [
        ("pgbench naive insert, 64 clients", lambda: naive.insert(64)),
        ("Redis sliding log, always, 64 connections", lambda: redis.decide(64, 1, 1_000)),
        ("POST /v1/requests, 64 connections", lambda: ours.rate("--connections", 64)),
        ("POST /v1/requests, 256 connections", lambda: ours.rate("--connections", 256)),
        ("POST /v1/requests, 256 connections, Unix socket",
         lambda: ours.rate("--connections", 256, url="unix:" + ours.service.path)),
        ("acquire, 64 connections", lambda: ours.rate("--connections", 64, "--call", "acquire")),
        ("acquire, 64 connections, one hot key",
         lambda: ours.rate("--connections", 64, "--call", "acquire", "--distribution", "one")),
    ]
    done = Rounds(cells)
    print("\n### Through HTTP: 1,000 keys (zipf), authenticated, durable, load on the same cores")
    done.table("requests/s")
    heads()
    naive_, redis_, record, record256, unix, acquire, hot = [name for name, _ in cells]
    bar("record to naive insert, 64", done.ratios(record, naive_), at_least=1.5)
    bar("record, 256 connections, to naive insert, 64", done.ratios(record256, naive_), at_least=2)
    bar("the same over a Unix socket, as pgbench has it", done.ratios(unix, naive_))
    bar("record to Redis, which has no HTTP, tenants, keys to do", done.ratios(record, redis_), at_least=1.0)
    bar("acquire to record", done.ratios(acquire, record), at_least=0.8)
    bar("acquire, hot key to 1,000 keys", done.ratios(hot, acquire), at_least=1.0)


def lone(ours, naive, redis):
    cells = [
        ("pgbench naive insert", lambda: naive.median_us(open(naive.script).read())),
        ("POST /v1/requests", lambda: ours.p50()),
        ("acquire", lambda: ours.p50("--call", "acquire")),
        ("check", lambda: ours.p50("--call", "check")),
    ]
    done = Rounds(cells)
    print("\n### A lone call: one client, p50")
    done.table("microseconds")
    heads()
    names = [name for name, _ in cells]
    bar("record to naive insert", done.ratios(names[1], names[0]), at_most=2)
    bar("acquire to naive insert", done.ratios(names[2], names[0]), at_most=2)


def fill(ours, rows_a_key, keys=1_000):
    """Writes a log as a year of records would have left it: `rows_a_key` rows of one unit for each of the
    bench's operations, evenly over the last hour, running totals and all."""
    sql = ours.service.sql
    ours.load("--connections", 16, "--distribution", "uniform", duration=1)  # names the operations
    ours.empty()
    sql("SELECT bw_make_partitions('usage_log', clock_timestamp() - interval '1 hour', 3)")
    sql(f"""
        INSERT INTO usage_log (at, cum, tenant_id, units, op)
        SELECT now() - interval '3590 seconds' + i * (3580.0 / {rows_a_key}) * interval '1 second', i,
               '{ours.tenant}', 1, op
        FROM   generate_series(1, {rows_a_key}) AS i, generate_series(1, {keys}) AS op""", "VACUUM ANALYZE usage_log")


def exact(ours):
    """What check answers is what counting gives; asked again while rows leave the window meanwhile."""
    count = f"""SELECT sum(units) FROM usage_log WHERE tenant_id = '{ours.tenant}' AND op = 7
                AND at > greatest(clock_timestamp(), (SELECT max(at) FROM usage_log
                    WHERE tenant_id = '{ours.tenant}' AND op = 7)) - interval '1 hour'"""
    name = ours.service.sql(f"SELECT name FROM operation WHERE tenant_id = '{ours.tenant}' AND op = 7")
    for _ in range(50):
        before = ours.service.sql(count)
        answer = ours.service.call("GET", f"/v1/rate-limits/check?operation={name}&maxPerHour=5", key=ours.key)[1]
        if before == ours.service.sql(count):
            return answer["count"] == int(before or 0)
    return False


def check(ours, naive, redis):
    many = Ours("-many")
    try:
        fill(ours, 1)
        fill(many, 10_000)
        rows = [int(each.service.sql("SELECT count(*) FROM usage_log")) for each in (ours, many)]
        right = exact(ours) and exact(many)
        cells = []
        for each, size in zip((ours, many), rows):
            cells.append((f"check, {size:,} rows, one client: p50 us",
                          lambda each=each: each.p50("--call", "check", "--distribution", "uniform", empty=False)))
            cells.append((f"check, {size:,} rows, 64 connections: us a call",
                          lambda each=each: 1e6 / each.rate("--call", "check", "--distribution", "uniform", empty=False)))
        done = Rounds(cells)
        print("\n### check as the window grows: 1,000 keys, through HTTP")
        done.table("microseconds")
        heads()
        names = [name for name, _ in cells]
        bar("10 million rows to a thousand, one client", done.ratios(names[2], names[0]), at_most=1.3)
        bar("10 million rows to a thousand, 64 connections", done.ratios(names[3], names[1]), at_most=1.3)
        print(f"\nThe counts are {'exact' if right else '**wrong**'} at both sizes.")
        if not right:
            missed.append("exact counts")
        stats(many, naive)
    finally:
        many.service.end()


def stats(many, naive):
    """A million records of one tenant over ten operations: the ledger's row a record, its worst case."""
    tenant, key = many.service.make_tenant("stats")
    many.service.sql(
        f"INSERT INTO operation (tenant_id, op, name) SELECT '{tenant}', i, 'operation-' || i FROM generate_series(1, 10) AS i",
        f"""INSERT INTO usage_log (at, cum, tenant_id, units, op)
            SELECT now() - interval '3500 seconds' + i * interval '0.034 seconds', i, '{tenant}', 1, op
            FROM   generate_series(1, 100000) AS i, generate_series(1, 10) AS op""", "VACUUM ANALYZE usage_log")
    naive.sql("TRUNCATE record",
              f"""INSERT INTO record (tenant_id, operation, at)
                  SELECT '{tenant}', 'operation-' || op, now() - interval '3500 seconds' + i * interval '0.034 seconds'
                  FROM   generate_series(1, 100000) AS i, generate_series(1, 10) AS op""", "VACUUM ANALYZE record")
    ledger = Naive.__new__(Naive)
    ledger.folder = many.service.socket_folder()
    many.key, kept = key, many.key
    group = f"""SELECT operation, count(*) FROM record WHERE tenant_id = '{tenant}' AND at > now() - interval '1 hour'
                GROUP BY operation;\n"""
    cells = [
        ("GROUP BY over a million rows", lambda: naive.median_us(group)),
        ("bw_stats over a million rows", lambda: ledger.median_us(f"SELECT * FROM bw_stats('{tenant}', 3600, NULL);\n", "breakwater")),
        ("GET /v1/stats", lambda: many.p50("--call", "stats", "--distribution", "one", empty=False)),
    ]
    done = Rounds(cells)
    many.key = kept
    print("\n### Statistics: ten operations, a million records in the hour, one client, p50")
    done.table("microseconds")
    heads()
    names = [name for name, _ in cells]
    bar("GROUP BY to bw_stats", done.ratios(names[0], names[1]), at_least=200)
    bar("GROUP BY to GET /v1/stats, HTTP and all", done.ratios(names[0], names[2]))


def libraries(ours, naive, redis):
    """What a Python program might use: one thread, one key after another, durable."""
    from limits import RateLimitItemPerHour, storage, strategies
    from psycopg_pool import ConnectionPool
    from pyrate_limiter import Duration, Limiter, PostgresBucket, Rate
    moving = strategies.MovingWindowRateLimiter(storage.RedisStorage(f"redis://127.0.0.1:{redis.port}"))
    hour = RateLimitItemPerHour(1_000_000_000)
    pool = ConnectionPool(f"host={naive.folder} user=breakwater dbname=naive", min_size=1, max_size=1, open=True)
    limiter = Limiter(PostgresBucket(pool, "bench", [Rate(1_000_000_000, Duration.HOUR)]))
    connection = ours.service.connect()

    def timed(call):
        end, count, start = time.monotonic() + seconds, 0, time.monotonic()
        while time.monotonic() < end:
            # Theirs may refuse though there is room (pyrate-limiter did, once in some thousand): that is no decision.
            count += bool(call(count))
        return count / (time.monotonic() - start)

    def by_redis(number):
        return moving.hit(hour, f"key-{number % 1000}")

    def by_postgres(number):
        return limiter.try_acquire("key", blocking=False)

    def by_us(number):
        status, answer = ours.service.call(
            "POST", "/v1/rate-limits/acquire", {"operation": f"bench-{number % 1000}", "maxPerHour": 1_000_000_000},
            ours.key, connection)
        assert status == 200, answer
        return True

    def emptied(call, before):
        def measure():
            before()
            return timed(call)
        return measure

    cells = [
        ("limits 5.8, moving window on Redis, always", emptied(by_redis, lambda: redis.call("FLUSHALL"))),
        ("pyrate-limiter 4.5, PostgreSQL bucket", emptied(by_postgres, lambda: naive.sql("TRUNCATE ratelimit___bench"))),
        ("acquire, Python's http.client", emptied(by_us, ours.empty)),
    ]
    done = Rounds(cells)
    print("\n### Beside libraries: one Python thread")
    done.table("decisions/s")
    heads()
    names = [name for name, _ in cells]
    bar("acquire to limits", done.ratios(names[2], names[0]))
    bar("acquire to pyrate-limiter", done.ratios(names[2], names[1]))
    pool.close()


def flat(ours, naive, redis):
    """Full load for minutes with a window of 30 s and cleanup on: size and latency stay where they are.

    The service keeps an hour and drops partitions of an hour. Here its two functions that say so are
    replaced in this database, 30 s and 10 s; the jobs, locks and drops are the service's own."""
    original(naive)
    folded = Ours("-flat", settings=("cleanup.intervalS=1", "ledger.retentionS=1", "jobs.pollMs=100"))
    service = folded.service
    try:
        service.sql("""CREATE OR REPLACE FUNCTION bw_partition_step(parent text) RETURNS interval LANGUAGE sql IMMUTABLE
                       RETURN CASE WHEN parent = 'usage_log' THEN interval '10 seconds' ELSE interval '1 day' END""",
                    """CREATE OR REPLACE FUNCTION bw_longest_window(tenant uuid) RETURNS interval
                       LANGUAGE sql STABLE RETURN interval '30 seconds'""",
                    # Those of an hour that the start made, still empty: a write makes its own.
                    """DO $$ DECLARE part regclass; BEGIN FOR part IN SELECT inhrelid FROM pg_inherits
                       WHERE inhparent = 'usage_log'::regclass LOOP EXECUTE format('DROP TABLE %s', part); END LOOP; END $$""")
        _, admin = service.make_tenant("policies", ("admin",))
        admin = service.call("POST", f"/v1/admin/tenants/{folded.tenant}/keys", {"scopes": ["admin"]},
                             service.operator_key())[1]["key"]
        connection = service.connect()
        for number in range(1_000):
            status, answer = service.call(
                "PUT", f"/v1/policies/bench-{number}", {"limits": [{"limit": 1_000_000_000, "windowS": 30}]},
                admin, connection)
            assert status in (200, 201), answer
        sizes, oldest, running = [], [], True

        def watch():
            while running:
                row = service.sql("""SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0),
                    (SELECT coalesce(min(at) <= clock_timestamp() - interval '30 seconds', false) FROM usage_log)
                    FROM pg_inherits WHERE inhparent = 'usage_log'::regclass""").split("|")
                sizes.append((time.monotonic(), int(row[0])))
                oldest.append(row[1] == "t")
                time.sleep(1)
        watcher = threading.Thread(target=watch)
        watcher.start()
        print(f"\n### {flat_minutes} minutes of full load, window 30 s, cleanup each second: acquire, 64 connections")
        print("\n| minute | requests/s | p50 ms | p99 ms | max ms | log MB, most |\n|---|---|---|---|---|---|")
        minutes = []
        try:
            for minute in range(1, flat_minutes + 1):
                begin = time.monotonic()
                done = folded.load("--call", "acquire", "--policies", "--connections", 64, duration=60,
                                   empty=False, warm_up=0)
                size = max(size for at, size in sizes if at >= begin) / 1e6
                minutes.append((done, size))
                latency = done["latencyMs"]
                print(f"| {minute} | {done['requestsPerS']:,.0f} | {latency['p50']:.2f} | {latency['p99']:.2f} | "
                      f"{latency['max']:.0f} | {size:.0f} |", flush=True)
        finally:
            running = False
            watcher.join()
        print()
        heads()
        bar("log size, last minute to second", [minutes[-1][1] / minutes[min(1, len(minutes) - 1)][1]], at_most=1.3)
        bar("p99, last minute to first",
            [minutes[-1][0]["latencyMs"]["p99"] / minutes[0][0]["latencyMs"]["p99"]], at_most=1.5)
        gaps = int(service.sql("""SELECT count(*) FROM (SELECT cum, units, lag(cum) OVER
            (PARTITION BY tenant_id, op ORDER BY at) AS before FROM usage_log) AS l
            WHERE before IS NOT NULL AND cum - units <> before"""))
        runs = service.sql("SELECT outcome, failures, detail FROM job WHERE name = 'cleanup'")
        settled = oldest[40:]
        kept = all(settled)
        print(f"\nRunning totals with a gap: {gaps}. The log reached back 30 s or more in "
              f"{sum(settled)} of {len(settled)} looks. Cleanup: {runs}.")
        if gaps or not kept:
            missed.append("cleanup left every window whole")
    finally:
        service.end()


def original(naive):
    """The control: plain rows in batches of 1,000, and 500 deleted each second in batches of 100."""
    script = os.path.join(scratch, "rows.sql")
    with open(script, "w") as file:
        file.write("INSERT INTO record (tenant_id, operation) SELECT '018f0000-0000-7000-8000-000000000001', "
                   "'operation-' || (random() * 999)::int FROM generate_series(1, 1000);\n")
    naive.sql("TRUNCATE record", "CREATE INDEX IF NOT EXISTS record_at ON record (at)")
    load = subprocess.Popen([program("pgbench"), "-n", "-M", "prepared", "-h", naive.folder, "-U", "breakwater",
                             "-c", "2", "-T", "60", "-f", script, "naive"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sizes, deleted = [], 0
    while load.poll() is None:
        for _ in range(5):
            deleted += int(naive.sql("""WITH gone AS (DELETE FROM record WHERE id IN (SELECT id FROM record
                WHERE at < now() - interval '30 seconds' ORDER BY at LIMIT 100) RETURNING 1) SELECT count(*) FROM gone"""))
        sizes.append(int(naive.sql("SELECT pg_total_relation_size('record')")) / 1e6)
        time.sleep(1)
    rows = int(naive.sql("SELECT count(*) FROM record"))
    print(f"\n### The control: a cleanup of 500 rows a run, each second, under full load of plain rows"
          f"\n\nAfter 30 s {sizes[len(sizes) // 2]:.0f} MB, after 60 s {sizes[-1]:.0f} MB: {deleted:,} deleted, {rows:,} left.")
    naive.sql("TRUNCATE record", "DROP INDEX record_at")


def machine():
    model = re.search(r"model name\s*: (.*)", open("/proc/cpuinfo").read())
    memory = int(re.search(r"MemTotal:\s+(\d+)", open("/proc/meminfo").read())[1]) >> 20
    commit = run("git", "rev-parse", "--short", "HEAD", cwd=root).strip()
    postgres = re.search(r"[\d.]+", run(program("postgres"), "--version"))[0]
    redis = re.search(r"v=([\d.]+)", run("redis-server", "--version"))[1]
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, commit {commit}: {model[1] if model else platform.machine()}, "
          f"{os.cpu_count()} cores, {memory} GiB, Linux {platform.release()}; PostgreSQL {postgres}, Redis {redis}; "
          f"{rounds} rounds of {seconds:g} s a cell.", flush=True)


known = {"sql": sql_layer, "http": http_layer, "lone": lone, "check": check, "libraries": libraries, "flat": flat}
if set(sections) - set(known):
    sys.exit(f"sections are {', '.join(known)}")
ours = redis = None
try:
    machine()
    ours = Ours()
    naive = Naive(ours.service)
    redis = Redis()
    for section in sections:
        known[section](ours, naive, redis)
finally:
    if redis:
        redis.end()
    if ours:
        ours.service.end()
    shutil.rmtree(scratch, ignore_errors=True)
print(f"\n{'missed: ' + '; '.join(missed) if missed else 'every bar held'}")
sys.exit(1 if missed else 0)
