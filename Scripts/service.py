"""Instances of the service as processes, and clients that count what was acknowledged.

For the scripts beside it: crash-test, soak-test, lost-answers, proof, demo, bench-ledger.
"""
import glob, http.client, json, os, shutil, signal, socket, subprocess, threading, time

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program(name):
    """Of the newest PostgreSQL here."""
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    return found[-1] if found else shutil.which(name) or name


class Service:
    """One instance on a fixed port, with its log in a file. Without a database it has a private one."""

    def __init__(self, binary, folder, name="", variables=None, port=None):
        self.binary = binary
        self.port = port or free_port()
        self.path = os.path.join(folder, "http" + name)  # it listens on a Unix socket too
        self.log = os.path.join(folder, "log" + name)
        self.data = os.path.join(folder, "data" + name)
        self.variables = variables or {}
        self.process = None

    def start(self, crash=None, settings=(), wait=True):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("BREAKWATER_", "DATABASE_"))}
        environment.update(self.variables)
        if crash:
            environment["BREAKWATER_TEST_CRASH"] = crash
        flags = [flag for setting in settings for flag in ("--set", setting)]
        # In a session of its own: a Ctrl-C is the script's, and a second signal would end it at once.
        self.process = subprocess.Popen(
            [self.binary, "serve", "--data", self.data, "--listen",
             f"127.0.0.1:{self.port},unix:{self.path}", *flags],
            stdout=open(self.log, "ab"), stderr=subprocess.STDOUT, env=environment, start_new_session=True)
        if wait:
            self.wait_ready()

    def wait_ready(self, patience=60):
        end = time.monotonic() + patience
        while time.monotonic() < end:
            try:
                if self.call("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise SystemExit(f"not ready: {self.log} ends with:\n" + open(self.log).read()[-2000:])

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def call(self, method, path, body=None, key=None, connection=None, fields=None):
        connection = connection or self.connect()
        headers = {"Content-Type": "application/json"} if body is not None else {}
        headers.update(fields or {})
        if key:
            headers["Authorization"] = "Bearer " + key
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None

    def pid_file(self):
        for folder, _, files in os.walk(self.data):
            if "postmaster.pid" in files:
                return os.path.join(folder, "postmaster.pid")
        raise SystemExit("no postmaster.pid")

    def postmaster(self):
        return int(open(self.pid_file()).readline())

    def socket_folder(self):
        """Of its private PostgreSQL: the pid file's fifth line."""
        return open(self.pid_file()).read().splitlines()[4]

    def sql(self, *statements, database="breakwater"):
        """As the private cluster's superuser; the rows of the last statement, fields apart by |."""
        answer = ""
        for statement in statements:
            answer = subprocess.run(
                [program("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.socket_folder(),
                 "-U", "breakwater", "-d", database, "-c", statement],
                check=True, stdout=subprocess.PIPE, text=True).stdout
        return answer.strip()

    def operator_key(self):
        given = self.variables.get("BREAKWATER_OPERATOR_KEY")
        return given or open(os.path.join(self.data, "operator.key")).read().strip()

    def make_tenant(self, name, scopes=("record", "read")):
        """A new tenant's id, and a key of it."""
        tenant = self.call("POST", "/v1/admin/tenants", {"name": name}, self.operator_key())[1]["id"]
        made = self.call("POST", f"/v1/admin/tenants/{tenant}/keys", {"scopes": list(scopes)}, self.operator_key())
        return tenant, made[1]["key"]

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self):
        """Stops what still runs of it, whatever happened."""
        if self.process and self.process.poll() is None:
            self.stop()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


class Load:
    """Clients that record one unit after another and remember what was acknowledged."""

    def __init__(self, service, key, clients=16):
        self.service, self.key = service, key
        self.acknowledged = self.unknown = 0
        self.statuses, self.slowest = {}, 0.0
        self.running = True
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self):
        connection = None
        while self.running:
            begin = time.monotonic()
            try:
                connection = connection or self.service.connect()
                status, answer = self.service.call(
                    "POST", "/v1/requests", {"operation": "op"}, self.key, connection)
            except (OSError, http.client.HTTPException):
                connection = None
                with self.lock:
                    self.unknown += 1
                time.sleep(0.02)
                continue
            with self.lock:
                self.statuses[status] = self.statuses.get(status, 0) + 1
                self.slowest = max(self.slowest, time.monotonic() - begin)
                if status == 201:
                    self.acknowledged += 1
                elif status == 503 and answer.get("mayHaveHappened"):
                    self.unknown += 1
            if status != 201:
                time.sleep(0.02)

    def stop(self):
        self.running = False
        for thread in self.threads:
            thread.join()


def is_zombie(pid):
    """Or gone: where pid 1 does not reap, a killed postmaster stays in the table."""
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def wait_for_death(pid, step, patience=60):
    end = time.monotonic() + patience
    while not is_zombie(pid):
        if time.monotonic() > end:
            raise SystemExit(f"PostgreSQL was not killed in {step}")
        time.sleep(0.005)
