"""certs.py - certificates for tests, made with the openssl command when they are first needed.

    ca = authority()              one for the whole file;  authority("other") is another one
    cert = ca.issue("localhost")  .cert, .key: paths of PEM files. days=-1 has expired
    TLS = cert.args               ["--tls-cert", path, "--tls-key", path]
    context = client_context(ca)  an ssl.SSLContext that trusts ca and expects localhost;
                                  with a certificate: client_context(ca, cert)
"""

import os
import ssl
import subprocess
import threading

from harness import check, temp_dir

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(*args, stdin=None):
    p = subprocess.run(["openssl", *args], input=stdin, capture_output=True)
    check(p.returncode == 0, f"openssl {' '.join(args)}: {p.stderr.decode()}")
    return p.stdout


def in_file(name, data):
    path = os.path.join(temp_dir(), name)
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, 0o600)
    return path


def text_of(path):
    with open(path, "rb") as f:
        return f.read()


class Certificate:
    def __init__(self, cert, key):
        self.cert, self.key = cert, key
        self.args = ["--tls-cert", cert, "--tls-key", key]


class Authority(Certificate):
    def __init__(self, name, signed_by=None):
        at = temp_dir()
        cert, key = os.path.join(at, "ca.pem"), os.path.join(at, "ca.key")
        if signed_by:
            super().__init__(*signed_by._sign(name, "basicConstraints=critical,CA:TRUE", 30))
            return
        openssl("req", "-x509", *KEY, "-keyout", key, "-out", cert, "-subj", f"/CN={name}",
                "-days", "30", "-addext", "basicConstraints=critical,CA:TRUE")
        super().__init__(cert, key)

    def _sign(self, name, extensions, days):
        at = temp_dir()
        cert, key = os.path.join(at, "cert.pem"), os.path.join(at, "key.pem")
        request = openssl("req", *KEY, "-keyout", key, "-subj", f"/CN={name}")
        more = in_file("extensions", extensions.encode())
        openssl("x509", "-req", "-CA", self.cert, "-CAkey", self.key, "-out", cert, "-days",
                str(days), "-extfile", more, stdin=request)
        return cert, key

    def issue(self, name="localhost", days=30, host="localhost"):
        return Certificate(*self._sign(name, f"subjectAltName=DNS:{host},IP:127.0.0.1", days))


made = {}
making = threading.Lock()


def authority(name="authority"):
    with making:
        if name not in made:
            made[name] = Authority(name)
        return made[name]


def server_certificate():
    ca = authority()
    with making:
        if "localhost" not in made:
            made["localhost"] = ca.issue()
        return made["localhost"]


def client_context(ca=None, cert=None):
    context = ssl.create_default_context(cafile=(ca or authority()).cert)
    if cert:
        context.load_cert_chain(cert.cert, cert.key)
    return context
