# DIRECTORY RELEASE MIRROR: Debian, Python on it, a compiler on that; DIRECTORY/{1,2,3}.tar are what each brought.
# In a mount namespace of its own.
cd "$1"
tree=$PWD/tree
all() { (cd "$tree" && find . -xdev \( -path ./dev -o -path ./proc/\* -o -path ./var/cache/apt/archives \) -prune -o "$@" -print0 | sort -z); }
pack() {
    tar --directory="$tree" --create --format=pax --numeric-owner --xattrs --xattrs-include='*' --pax-option=delete=atime,delete=ctime \
        --no-recursion --null --files-from=- --file=unfinished.tar
    mv unfinished.tar "$1"
    # What comes next is newer by more than the clock of the filesystem can miss.
    sleep 1; touch stamp; sleep 1
}
install() {
    DEBIAN_FRONTEND=noninteractive chroot "$tree" \
        apt-get -qq -o APT::Sandbox::User=root install -y --no-install-recommends "$@" >apt.log 2>&1 || { tail -5 apt.log; exit 1; }
}
debootstrap --variant=minbase --merged-usr "$2" "$tree" "$3" >debootstrap.log || { tail -5 debootstrap.log; exit 1; }
all | pack 1.tar
mount --bind /proc "$tree/proc"
install python3 python3-pip
all -newercm ../stamp | pack 2.tar
install gcc g++ make
all -newercm ../stamp | pack 3.tar
umount "$tree/proc"
rm -rf "$tree"
