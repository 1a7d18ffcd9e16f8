"""`breakwater simulate` as a process, steered from outside: for the scripts beside it."""
import json, os, signal, subprocess, tempfile, time, urllib.error, urllib.request

from service import free_port


class Provider:
    """One region `sim`; `keys` are its accounts, by the name that the book shows."""

    def __init__(self, binary, folder, keys=None, latency=None, limits=None, seed=1, domain=None):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.keys = keys or {"primary": "e2b_" + os.urandom(20).hex()}
        self.latency = latency or {"createMs": 20, "otherMs": 2, "commandMs": 2}
        self.limits = limits or {"concurrent": 10_000}
        self.domain = domain
        self.log = open(os.path.join(folder, "provider.log"), "ab")
        with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".json", delete=False) as script:
            json.dump(self.script([], seed), script)
        self.process = subprocess.Popen(
            [binary, "simulate", "--listen", f"127.0.0.1:{self.port}", "--script", script.name],
            stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True)
        for _ in range(200):
            try:
                self.ask("GET", "/_sim")
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)
        raise SystemExit("the simulator did not start; see " + self.log.name)

    def script(self, faults, seed):
        region = {"name": "sim", "keys": self.keys, "latency": self.latency, "limits": self.limits}
        if self.domain:
            region["domain"] = self.domain
        return {"seed": seed, "book": {"calls": 200_000, "sandboxes": 100_000}, "regions": [region], "faults": faults}

    def ask(self, method, path, body=None, key=None):
        headers = {"Content-Type": "application/json"}
        if key:
            headers["X-API-Key"] = key
        request = urllib.request.Request(
            self.url + path, None if body is None else json.dumps(body).encode(), headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{method} {path}: {error.code} {error.read().decode()[:400]}") from None

    def play(self, *faults, seed=1):
        """Other faults from now on; sandboxes, clock and book stay."""
        self.ask("PUT", "/_sim/script", self.script(list(faults), seed))

    def _all(self, path, name, more=""):
        found, after = [], 0
        while True:
            page = self.ask("GET", f"{path}?after={after}&limit=5000{more}")
            found += page[name]
            if not page["more"]:
                return found
            after = page["nextAfter"]

    def lives(self):
        """Every sandbox that there was."""
        return self._all("/_sim/sandboxes", "sandboxes", "&state=all")

    def calls(self):
        return self._all("/_sim/book", "calls")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=20)
        self.log.close()


def give_region(service, tenant, provider, key="primary", name="sim", domain="sim.localhost", data_plane=False):
    """Makes the provider a tenant's region; with its data plane sandboxes can be checked."""
    region = {"apiUrl": provider.url, "domain": domain, "apiKey": provider.keys[key]}
    if data_plane:
        region["dataPlaneUrl"] = provider.url
    status, answer = service.call(
        "PUT", f"/v1/admin/tenants/{tenant}/regions/{name}", region, service.operator_key())
    if status not in (200, 201):
        raise SystemExit(f"no region: {answer}")
