//go:build tools

// Package etcd pins the etcd server, apart from Kubernetes because their dependencies do not agree.
package etcd

import _ "go.etcd.io/etcd/server/v3"
