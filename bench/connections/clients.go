package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"fettle.dev/fettle/bench/load"
)

// clients are the units' side.
type clients struct {
	units []load.Unit
	roots *x509.CertPool
}

// open connects unit i and gives what closes the connection.
func (c *clients) open(address string, i int, encrypted bool) (func() error, error) {
	nc, err := c.dial(address)
	if err != nil {
		return nil, err
	}
	if encrypted {
		nc = tls.Client(nc, &tls.Config{RootCAs: c.roots, ServerName: "localhost", MinVersion: tls.VersionTLS12})
	}
	return nc.Close, c.greet(nc, i)
}

func (c *clients) dial(address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 30 * time.Second, LocalAddr: load.Source()}
	return d.DialContext(context.Background(), "tcp", address)
}

// greet sends CONNECT and takes CONNACK.
func (c *clients) greet(nc net.Conn, i int) error {
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := nc.Write(load.ConnectPacket(&c.units[i])); err != nil {
		return err
	}
	var answer [4]byte
	if _, err := io.ReadFull(nc, answer[:]); err != nil {
		return err
	}
	if answer[3] != 0 {
		return fmt.Errorf("refused with code %d", answer[3])
	}
	return nil
}

// parallel opens connections from to to, so many at a time.
func parallel(from, to, atOnce int, open func(i int) (func() error, error), into *[]func() error) error {
	var mu sync.Mutex
	var failed error
	var group sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := from; i < to; i++ {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			closer, err := open(i)
			mu.Lock()
			defer mu.Unlock()
			if err != nil && failed == nil {
				failed = fmt.Errorf("connection %d: %w", i, err)
			}
			if closer != nil {
				*into = append(*into, closer)
			}
		})
	}
	group.Wait()
	return failed
}

// again lets n units connect at once, each until it succeeds, and send a
// message. It returns when all are acknowledged.
func (c *clients) again(address string, n int) error {
	errs := make([]error, n)
	conns := make([]net.Conn, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			deadline := time.Now().Add(2 * time.Minute)
			for {
				conns[i], errs[i] = c.once(address, i)
				if errs[i] == nil || time.Now().After(deadline) {
					return
				}
				time.Sleep(time.Second) // as paho does at first
			}
		})
	}
	group.Wait()
	for _, nc := range conns {
		if nc != nil {
			_ = nc.Close()
		}
	}
	return errors.Join(errs...)
}

func (c *clients) once(address string, i int) (net.Conn, error) {
	nc, err := c.dial(address)
	if err != nil {
		return nil, err
	}
	err = c.greet(nc, i)
	if err == nil {
		_, err = nc.Write(load.Message(&c.units[i], i, time.Now()))
	}
	if err == nil {
		_, err = io.ReadFull(nc, make([]byte, 4))
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return nc, nil
}

// certificate writes a certificate of localhost and its key, and gives the pool
// that trusts it.
func certificate(dir string) (certFile, keyFile string, pool *x509.CertPool, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return "", "", nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", nil, err
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return certFile, keyFile, pool, errors.Join(
		os.WriteFile(certFile, certPEM, 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}
