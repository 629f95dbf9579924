//! CRI v1 client and private containerd: runs sandboxes and containers.
