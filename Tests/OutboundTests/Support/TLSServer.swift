import Foundation
import TestSupport

/// nginx over TLS, with certificates that openssl makes: one good, the others each wrong in one way.
struct TLSServer: Sendable {
    let folder: String
    /// Of the CA that signed all but the self-signed one.
    var caFile: String { folder + "/ca.pem" }
    let ports: [Certificate: UInt16]

    enum Certificate: String, CaseIterable, Sendable {
        case good, otherHost, expired, selfSigned, http1
    }

    func url(_ certificate: Certificate, host: String = "localhost") -> String {
        "https://\(host):\(ports[certificate] ?? 0)/"
    }

    /// Serves while `body` runs.
    static func with(_ body: (TLSServer) async throws -> Void) async throws {
        let folder = "/tmp/bw-tls-\(UInt32.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: false,
            attributes: [.posixPermissions: 0o700])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await onThread { try makeCertificates(folder) }
        let (server, nginx) = try await onThread { try start(folder) }
        defer { stop(nginx) }
        try await body(server)
    }

    /// On free ports, others if somebody takes one of them meanwhile.
    private static func start(_ folder: String) throws -> (TLSServer, Process) {
        for _ in 0..<5 {
            let ports = try Certificate.allCases.map { ($0, try RawServer.freePort()) }
            let server = TLSServer(
                folder: folder, ports: Dictionary(ports, uniquingKeysWith: { $1 }))
            try server.configuration.write(
                toFile: folder + "/nginx.conf", atomically: true, encoding: .utf8)
            let nginx = Process()
            nginx.executableURL = URL(fileURLWithPath: "/usr/sbin/nginx")
            nginx.arguments = [
                "-e", folder + "/error.log", "-p", folder, "-c", folder + "/nginx.conf",
            ]
            nginx.standardOutput = FileHandle.nullDevice
            nginx.standardError = FileHandle.nullDevice
            try nginx.run()
            for _ in 0..<1000 where nginx.isRunning {
                // The file is written when all ports are open.
                if FileManager.default.fileExists(atPath: folder + "/nginx.pid") {
                    return (server, nginx)
                }
                usleep(10_000)
            }
            stop(nginx)
        }
        let log = try? String(contentsOfFile: folder + "/error.log", encoding: .utf8)
        throw Trouble("nginx does not start: \(log ?? "")")
    }

    /// At once: it has the signal mask of the thread that started it, which may hold SIGTERM back. Not
    /// waited for: Foundation sees the end on that thread alone.
    private static func stop(_ nginx: Process) { kill(nginx.processIdentifier, SIGKILL) }

    private var configuration: String {
        let servers = Certificate.allCases.map { certificate in
            """
            server {
                listen 127.0.0.1:\(ports[certificate] ?? 0) ssl\(certificate == .http1 ? "" : " http2");
                ssl_certificate \(folder)/\(certificate == .http1 ? "good" : certificate.rawValue).pem;
                ssl_certificate_key \(folder)/key.pem;
                location / { return 200 "$server_protocol $ssl_server_name $request_method $connection"; }
                location /large { alias \(folder)/large; }
                location /read {
                    proxy_pass https://127.0.0.1:\(ports[certificate] ?? 0)/;
                    client_max_body_size 64m;
                }
            }
            """
        }
        return """
            daemon off; master_process off; worker_processes 1; pid \(folder)/nginx.pid;
            events { worker_connections 1024; }
            http {
                access_log off; client_body_temp_path \(folder)/body; proxy_temp_path \(folder)/proxy;
                fastcgi_temp_path \(folder)/f; uwsgi_temp_path \(folder)/u; scgi_temp_path \(folder)/s;
            \(servers.joined(separator: "\n"))
            }
            """
    }

    private static func makeCertificates(_ folder: String) throws {
        let script = """
            set -e
            cd '\(folder)'
            openssl ecparam -name prime256v1 -genkey -noout -out key.pem
            openssl ecparam -name prime256v1 -genkey -noout -out ca-key.pem
            openssl req -x509 -new -key ca-key.pem -subj '/CN=Breakwater test CA' -days 2 -out ca.pem
            make() { # file, names, days
                openssl req -new -key key.pem -subj /CN=test -addext "subjectAltName=$2" -out request.pem
                openssl x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial \
                    -copy_extensions copy -days "$3" -out "$1.pem"
            }
            make good DNS:localhost,IP:127.0.0.1 2
            make otherHost DNS:other.example 2
            make expired DNS:localhost,IP:127.0.0.1 -1
            openssl req -x509 -new -key key.pem -subj /CN=localhost -addext subjectAltName=DNS:localhost \
                -days 2 -out selfSigned.pem
            head -c 3000000 /dev/zero > large
            """
        let shell = Process()
        shell.executableURL = URL(fileURLWithPath: "/bin/sh")
        shell.arguments = ["-c", script]
        let errors = Pipe()
        shell.standardError = errors
        shell.standardOutput = FileHandle.nullDevice
        try shell.run()
        let said = errors.fileHandleForReading.readDataToEndOfFile()
        shell.waitUntilExit()
        guard shell.terminationStatus == 0 else {
            throw Trouble("openssl: \(String(decoding: said, as: UTF8.self))")
        }
    }
}
