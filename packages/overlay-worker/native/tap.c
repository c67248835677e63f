/* The TAP that stands in a network's bridge. */
#define _GNU_SOURCE
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

int tap_open(const char* name, struct tap* tap) {
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return -errno;
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (ioctl(fd, TUNSETIFF, &request) == 0) {
    int size = sizeof(struct virtio_net_hdr);
    unsigned tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    /* Segmentation of UDP came with Linux 6.2; without it the kernel segments before we see it, and takes none. */
    if (ioctl(fd, TUNSETVNETHDRSZ, &size) == 0) {
      bool uso = ioctl(fd, TUNSETOFFLOAD, tcp | TUN_F_USO4 | TUN_F_USO6) == 0;
      if (uso || ioctl(fd, TUNSETOFFLOAD, tcp) == 0) {
        *tap = (struct tap){fd, uso};
        return 0;
      }
    }
  }
  int error = errno;
  close(fd);
  return -error;
}

/* A port of a bridge speaks for no host: without this the kernel sends its own solicitations into the network. */
static void silence(const char* name) {
  char path[64];
  snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return; /* a kernel without IPv6 */
  ssize_t result = write(fd, "1", 1);
  (void)result; /* read-only /proc/sys: then it speaks, which harms nobody */
  close(fd);
}

int tap_configure(const char* name, uint32_t mtu, const char* bridge) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  int error = 0;
  silence(name);
  struct ifreq request = {.ifr_mtu = (int)mtu};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (mtu && ioctl(fd, SIOCSIFMTU, &request) < 0) error = errno;
  if (!error && bridge[0]) {
    struct ifreq master = {.ifr_ifindex = (int)if_nametoindex(name)};
    strncpy(master.ifr_name, bridge, IFNAMSIZ - 1);
    if (ioctl(fd, SIOCBRADDIF, &master) < 0 && errno != EBUSY) error = errno;
  }
  if (!error && ioctl(fd, SIOCGIFFLAGS, &request) < 0) error = errno;
  request.ifr_flags |= IFF_UP;
  if (!error && ioctl(fd, SIOCSIFFLAGS, &request) < 0) error = errno;
  close(fd);
  return -error;
}
