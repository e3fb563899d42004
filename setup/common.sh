# Shared by the scripts beside it: installs Debian packages, saying so first.

# as_root COMMAND...: runs a command as root.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# install_packages WHY PACKAGE...: installs Debian packages. WHY ends up in the sentence that is printed first.
install_packages() {
    why=$1
    shift
    echo "Installing $* through apt ($why)."
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# have PROGRAM: whether a program is installed, also where only root looks.
have() {
    PATH="$PATH:/usr/sbin:/sbin:/usr/local/sbin" command -v "$1" >/dev/null 2>&1
}
