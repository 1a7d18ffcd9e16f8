internal import Glibc
internal import IO

/// Brings the private cluster up: its files first, then the server.
struct ClusterStarter {
    let settings: PrivateCluster.Settings
    let layout: ClusterLayout
    let binaries: Binaries

    /// Makes the data folder beside its place and moves it there when it is whole, so that a start
    /// that is killed leaves nothing half made. One that is there must be ours.
    func makeDataFolder() throws(ClusterError) {
        // The `initdb` of a start that was killed may still be writing: what it makes anew is for the
        // start after this one to remove, and ours has a name of its own.
        for left in names(in: layout.home) where left.hasPrefix("data.new") {
            try? program("/bin/rm", ["-rf", layout.home + "/" + left], as: .itself).run()
        }
        if let status = status(of: layout.data) { return try checkDataFolder(status) }
        let new = layout.home + "/data.new.\(getpid())"
        try makePrivateFolder(new, owner: layout.user)
        try program(
            binaries.initdb,
            [
                "--pgdata=\(new)", "--username=\(PrivateCluster.superuser)", "--encoding=UTF8",
                "--locale=C", "--data-checksums", "--auth-local=trust", "--auth-host=reject",
                "--no-instructions",
            ] + (settings.overrides["fsync"] == "off" ? ["--no-sync"] : [])
        ).run()
        guard unsafe rename(new, layout.data) == 0 else { throw systemError("rename", new) }
    }

    /// What PostgreSQL would refuse too, but in its own log and words. A link is left to it.
    private func checkDataFolder(_ status: stat) throws(ClusterError) {
        func refuse(_ reason: String) throws(ClusterError) -> Never {
            throw .unsafeFolder(path: layout.data, reason: reason)
        }
        if status.st_mode & S_IFMT == S_IFLNK { return }
        if status.st_mode & S_IFMT != S_IFDIR { try refuse("is not a folder; move it away") }
        if status.st_uid != layout.user.uid {
            try refuse(
                "belongs to user \(status.st_uid), and PostgreSQL would run as \(layout.user.uid): "
                    + "start as the user that made it, or give it away with chown -R")
        }
        if status.st_mode & 0o027 != 0 { try refuse("is open to others: chmod 0700") }
        guard let text = readText(layout.data + "/PG_VERSION"),
            Int(text.filter { $0 != "\n" }) != nil
        else { try refuse("is not of PostgreSQL's making, without a PG_VERSION; move it away") }
    }

    /// Takes over the server that runs on the folder, or starts one; waits until it answers.
    ///
    /// - Parameter isCancelled: asked while waiting; a start that is not wanted any more is undone.
    func adoptOrLaunch(
        isCancelled: () -> Bool = { false }
    ) throws(ClusterError) -> (Postmaster, isAdopted: Bool) {
        if let running = Postmaster.running(on: layout) {
            let isSame = PidFile(layout.pidFile)?.socketFolder == layout.socketFolder
            if isSame, (try? waitUntilReady(running, isCancelled)) != nil { return (running, true) }
            running.stop(milliseconds: Int(settings.stopTimeout.milliseconds))
        }
        clearRemains()
        if isCancelled() { throw .noAnswer("stopped") }
        let postmaster = try launch()
        do throws(ClusterError) {
            try waitUntilReady(postmaster, isCancelled)
        } catch {
            postmaster.stop(milliseconds: 5_000)
            throw error
        }
        return (postmaster, false)
    }

    /// Ends what a killed postmaster left: backends still at work keep its shared memory, and with
    /// it the next one out. They write nothing more that counts, since nobody commits for them.
    private func clearRemains() {
        for round in 0..<500 {
            let orphans = Postmaster.servers(on: layout)
            if orphans.isEmpty { break }
            for orphan in orphans { kill(orphan, round < 100 ? SIGQUIT : SIGKILL) }
            usleep(10_000)
        }
        // The pid may since belong to somebody else, or to a zombie that nobody reaps: PostgreSQL
        // takes both for a live server. Nobody works on the folder, as we have just seen.
        _ = unsafe unlink(layout.pidFile)
        _ = unsafe unlink(layout.socketFolder + "/.s.PGSQL.5432.lock")
        _ = unsafe unlink(layout.socketFolder + "/.s.PGSQL.5432")
    }

    private func launch() throws(ClusterError) -> Postmaster {
        try writeText(
            ClusterConfiguration(
                layout: layout, walCompression: hasLZ4 ? "lz4" : "on",
                overrides: settings.overrides
            ).text, to: layout.configuration)
        let pid = try program(
            binaries.postgres, ["-D", layout.data, "-c", "config_file=\(layout.configuration)"]
        ).spawn()
        guard let postmaster = Postmaster(pid: pid, isChild: true) else {
            throw .failed(program: binaries.postgres, output: logTail)
        }
        return postmaster
    }

    /// Asks the server whether it takes the value: builds without lz4 would not start with it.
    private var hasLZ4: Bool {
        let question = ["-D", layout.data, "-c", "wal_compression=lz4", "-C", "wal_compression"]
        return (try? program(binaries.postgres, question, log: "/dev/null").run()) != nil
    }

    /// Waits for the log-in to work and makes the database if it is missing.
    private func waitUntilReady(
        _ postmaster: Postmaster, _ isCancelled: () -> Bool
    ) throws(ClusterError) {
        let deadline = MonotonicInstant.now.advanced(by: settings.startTimeout)
        while true {
            guard postmaster.isAlive else {
                throw .failed(program: binaries.postgres, output: logTail)
            }
            var reason = "it is still starting"
            if let file = PidFile(layout.pidFile), file.pid == postmaster.pid, file.isReady {
                do throws(PostgresError) {
                    return try makeDatabase()
                } catch { reason = error.reason }
            }
            if isCancelled() { throw .noAnswer("stopped") }
            guard MonotonicInstant.now < deadline else { throw .noAnswer(reason) }
            usleep(10_000)
        }
    }

    private func makeDatabase() throws(PostgresError) {
        let session = try Session(
            Conninfo(url: layout.url(database: "postgres"), instance: "cluster"))
        let exists = try session.execute(
            "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", .text(settings.database)
        ).only().bool(0)
        guard !exists else { return }
        let name = try session.execute("SELECT quote_ident($1)", .text(settings.database))
            .only().text(0)
        try session.run("CREATE DATABASE \(name)")
    }

    /// The last words in the log; what stands before them is of earlier starts.
    private var logTail: String {
        let lines = (readText(layout.log, limit: 2_000) ?? "no output").split(separator: "\n")
        return oneLine(lines.suffix(3).joined(separator: "\n"))
    }

    private enum Identity {
        case server
        case itself
    }

    private func program(
        _ path: String, _ arguments: [String], as identity: Identity = .server, log: String? = nil
    ) -> Program {
        let itself = ClusterUser(uid: geteuid(), gid: getegid(), launcher: [])
        return Program(
            path: path, arguments: arguments, user: identity == .server ? layout.user : itself,
            log: log ?? layout.log)
    }
}
