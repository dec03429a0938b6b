"""Types lines into a real shell on a terminal, and waits for what the shell shall make of them.

type_in_shell.py bash|zsh SCRIPT < lines: what to type, a tab, what shall be seen. Prints what was not, with what was instead. Python 3, no packages.
"""
import fcntl, os, pty, re, select, struct, sys, termios, time

ARGV = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}
SETUP = {
    "bash": "bind 'set show-all-if-ambiguous on'; bind 'set enable-bracketed-paste off'; PS1='>>''> '",
    "zsh": "autoload -Uz compinit; compinit -u -D; unset zle_bracketed_paste; PROMPT='>>''> '; RPROMPT=",
}


def main() -> int:
    shell, script = sys.argv[1:]
    cases = [line.rstrip("\n").split("\t") for line in sys.stdin if line.strip()]
    pid, fd = pty.fork()
    if pid == 0:
        os.execvpe(shell, ARGV[shell], {**os.environ, "TERM": "dumb" if shell == "bash" else "xterm", "LC_ALL": "C.UTF-8"})
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))

    def until(wanted: str, seconds: float = 10) -> tuple[bool, str]:
        seen, end = b"", time.time() + seconds
        while time.time() < end:
            if select.select([fd], [], [], 0.2)[0]:
                seen += os.read(fd, 65536)
            text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|[\x00\x07\r]", "", seen.decode("utf8", "replace"))
            if wanted in text:
                return True, text
        return False, text

    time.sleep(0.5)
    os.write(fd, f"{SETUP[shell]}; source {script}\r".encode())
    until(">>> ")
    failed = 0
    for typed, wanted in cases:
        os.write(fd, f"{typed}\t".encode())
        found, seen = until(wanted)
        if not found:
            failed += 1
            print(f"{shell}: {typed}: {seen!r} instead of {wanted!r}")
        # the line is taken back
        os.write(fd, b"\x05\x15\r")
        until(">>> ", 5)
    os.write(fd, b"exit\r")
    os.close(fd)
    os.waitpid(pid, 0)
    return 1 if failed else 0


sys.exit(main())
