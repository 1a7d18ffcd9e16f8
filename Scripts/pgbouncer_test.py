"""The work of Scripts/pgbouncer-test: a PostgreSQL, a PgBouncer in transaction mode before it, and the
test suites through it; or the service's requests a second through it and direct."""
import json, os, pwd, re, shutil, signal, statistics, subprocess, sys, tempfile, time
from service import Service, free_port, program, root

scratch = tempfile.mkdtemp(prefix="bw-pooler-", dir="/tmp")
os.chmod(scratch, 0o755)
# Both refuse to run as root.
other = pwd.getpwnam("postgres") if os.geteuid() == 0 else None


def as_other(*command, **options):
    return dict(args=[str(word) for word in command], **({"user": other.pw_uid, "group": other.pw_gid} if other else {}),
                **options)


class Servers:
    """PostgreSQL on a socket in a folder of its own, and PgBouncer on another."""

    def __init__(self, fsync):
        self.folder = os.path.join(scratch, "servers")
        os.mkdir(self.folder)
        if other:
            os.chown(self.folder, other.pw_uid, other.pw_gid)
        data = os.path.join(self.folder, "data")
        subprocess.run(**as_other(program("initdb"), "-D", data, "-U", "breakwater", "-A", "trust", "--no-sync"),
                       check=True, stdout=subprocess.DEVNULL)
        settings = {"listen_addresses": "", "unix_socket_directories": self.folder, "max_connections": 300,
                    "max_locks_per_transaction": 1024, "max_prepared_transactions": 8, "jit": "off", "timezone": "UTC",
                    "fsync": fsync, "shared_buffers": "512MB", "max_wal_size": "4GB"}
        flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.log = open(os.path.join(scratch, "log"), "ab")
        self.postgres = subprocess.Popen(**as_other(
            program("postgres"), "-D", data, *flags, stdout=self.log, stderr=self.log))
        self.port = free_port()
        with open(os.path.join(scratch, "users"), "w") as users:
            users.write('"breakwater" ""\n"bw_app" ""\n')
        path = os.path.join(scratch, "pgbouncer.ini")
        with open(path, "w") as file:
            file.write(f"""[databases]
* = host={self.folder} port=5432
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = trust
auth_file = {scratch}/users
pool_mode = transaction
default_pool_size = 20
max_client_conn = 1000
max_db_connections = 40
server_reset_query =
ignore_startup_parameters = extra_float_digits
""")
        self.wait("breakwater", f"host={self.folder} dbname=postgres")
        self.bouncer = subprocess.Popen(**as_other(shutil.which("pgbouncer") or "/usr/sbin/pgbouncer", path,
                                                   stdout=self.log, stderr=self.log))
        self.wait("breakwater", f"host=127.0.0.1 port={self.port} dbname=postgres")

    def wait(self, user, words):
        for _ in range(200):
            if subprocess.run([program("psql"), "-X", "-q", "-c", "SELECT 1", f"{words} user={user}"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.1)
        raise SystemExit(f"no answer from {words}\n{open(self.log.name).read()[-2000:]}")

    def direct(self, database="postgres", user="breakwater"):
        return f"postgresql:///{database}?host={self.folder}&user={user}"

    def pooled(self, database="postgres", user="breakwater"):
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def sql(self, statement, database="postgres"):
        subprocess.run([program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement, self.direct(database)],
                       check=True)

    def end(self):
        for process, number in ((getattr(self, "bouncer", None), signal.SIGINT), (self.postgres, signal.SIGINT)):
            if process:
                process.send_signal(number)
                process.wait(timeout=30)


def tests(servers):
    """Every suite that uses a database. Left out is what asks for a session of its own, by its nature."""
    subprocess.run(["swift", "build", "--build-tests"], cwd=root, check=True, stdout=subprocess.DEVNULL)
    environment = {**os.environ, "BREAKWATER_TEST_DATABASE_URL": servers.direct(),
                   "BREAKWATER_TEST_POOLER_URL": servers.pooled()}
    failed = False
    for suites in sys.argv[2:] or ("PostgresTests|ControlPlaneTests|APITests|SandboxTests", "EndToEndTests"):
        done = subprocess.run(["swift", "test", "--skip-build", "--disable-xctest", "--filter", suites], cwd=root,
                              env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900)
        lines = [line for line in done.stdout.splitlines() if re.search("✘|↳|recorded an issue|Test run with", line)]
        print("\n".join(lines), flush=True)
        failed |= done.returncode != 0 or not re.search(r"Test run with [1-9]\d* tests? .*passed", done.stdout)
    return failed


def measure(servers):
    """POST /v1/requests, 64 connections and a lone one, direct and through the pooler, in turn."""
    binary = os.path.join(root, ".build-release/release/breakwater")
    rounds, seconds = int(os.environ.get("BENCH_ROUNDS", 5)), os.environ.get("BENCH_SECONDS", "3")
    servers.sql("CREATE DATABASE breakwater")
    key = subprocess.run([binary, "key", "generate"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    common = {"DATABASE_MIGRATION_URL": servers.direct("breakwater"), "BREAKWATER_OPERATOR_KEY": key}
    ways = {
        "direct": Service(binary, scratch, "-direct", {**common, "DATABASE_URL": servers.direct("breakwater")}),
        "direct, unprepared": Service(binary, scratch, "-unprepared", {
            **common, "DATABASE_URL": servers.direct("breakwater", "bw_app"),
            "BREAKWATER_POSTGRES_PREPARED_STATEMENTS": "false"}),
        "PgBouncer": Service(binary, scratch, "-pooled", {
            **common, "DATABASE_URL": servers.pooled("breakwater", "bw_app"),
            "BREAKWATER_POSTGRES_PREPARED_STATEMENTS": "false"}),
    }
    try:
        for name, service in ways.items():
            service.start()
            servers.sql("ALTER ROLE bw_app LOGIN")
        tenant, tenant_key = ways["direct"].make_tenant("bench")
        rates, times = {name: [] for name in ways}, {name: [] for name in ways}
        for number in range(rounds):
            for name in list(ways) if number % 2 == 0 else reversed(list(ways)):
                for connections, figures, read in ((64, rates, lambda a: a["requestsPerS"]),
                                                   (1, times, lambda a: a["latencyMs"]["p50"] * 1000)):
                    servers.sql("TRUNCATE usage_log", "breakwater")
                    answer = subprocess.run(
                        [binary, "bench", "--json", "--url", f"http://127.0.0.1:{ways[name].port}", "--key", tenant_key,
                         "--connections", str(connections), "--duration", seconds, "--warm-up", "0.5"],
                        check=True, stdout=subprocess.PIPE, text=True).stdout
                    figures[name].append(read(json.loads(answer)))
        print("| | requests/s, 64 connections | ratio to direct | lone p50 us | ratio to direct |\n|---|---|---|---|---|")
        for name in ways:
            cells = []
            for figures in (rates, times):
                ratios = [a / b for a, b in zip(figures[name], figures["direct"])]
                cells += [f"{statistics.median(figures[name]):,.0f}",
                          f"{statistics.median(ratios):.2f} [{min(ratios):.2f}-{max(ratios):.2f}]"]
            print(f"| {name} | {' | '.join(cells)} |")
    finally:
        for service in ways.values():
            service.end()
    return False


failed, servers = True, None
try:
    wanted = sys.argv[1] if len(sys.argv) > 1 else "tests"
    servers = Servers("on" if wanted == "measure" else "off")
    failed = {"tests": tests, "measure": measure}[wanted](servers)
finally:
    if servers:
        servers.end()
    shutil.rmtree(scratch, ignore_errors=True)
sys.exit(1 if failed else 0)
