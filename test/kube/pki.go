package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// identity is who a certificate says its holder is, and where it may serve.
type identity struct {
	file   string
	name   string
	groups []string
	hosts  []string
}

// identities are those of a cluster whose API server and node are at address.
func identities(address string) []identity {
	return []identity{
		{file: "apiserver", name: "kube-apiserver", hosts: []string{address, "127.0.0.1", "10.96.0.1", "localhost", "kubernetes", "kubernetes.default.svc"}},
		{file: "admin", name: "admin", groups: []string{"system:masters"}},
		{file: "controllers", name: "system:kube-controller-manager"},
		{file: "scheduler", name: "system:kube-scheduler"},
		{file: "kubelet-client", name: "apiserver-kubelet", groups: []string{"system:masters"}},
		{file: nodeName, name: "system:node:" + nodeName, groups: []string{"system:nodes"}, hosts: []string{nodeName, address, "127.0.0.1"}},
		{file: "proxy", name: "system:kube-proxy"},
	}
}

// makePKI writes an authority, the components' certificates and the service accounts' key into dir.
func makePKI(dir, address string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "covet-kube"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if err := certify(dir, "ca", ca, ca, key, key); err != nil {
		return err
	}
	for i, id := range identities(address) {
		if err := id.write(dir, int64(i)+2, ca, key); err != nil {
			return fmt.Errorf("certificate of %s: %w", id.name, err)
		}
	}
	return serviceAccountKey(dir)
}

func (id identity) write(dir string, serial int64, ca *x509.Certificate, caKey crypto.Signer) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: id.name, Organization: id.groups}, NotBefore: ca.NotBefore,
		NotAfter: ca.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, h := range id.hosts {
		if ip := net.ParseIP(h); ip != nil {
			cert.IPAddresses = append(cert.IPAddresses, ip)
		} else {
			cert.DNSNames = append(cert.DNSNames, h)
		}
	}
	return certify(dir, id.file, cert, ca, key, caKey)
}

// certify signs a certificate and writes it as NAME.crt, its key as NAME.key.
func certify(dir, name string, cert, ca *x509.Certificate, key *ecdsa.PrivateKey, caKey crypto.Signer) error {
	der, err := x509.CreateCertificate(rand.Reader, cert, ca, key.Public(), caKey)
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(dir, name+".crt"), "CERTIFICATE", der); err != nil {
		return err
	}
	if der, err = x509.MarshalECPrivateKey(key); err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, name+".key"), "EC PRIVATE KEY", der)
}

// serviceAccountKey writes sa.key and sa.pub, with which service accounts' tokens are signed and checked.
func serviceAccountKey(dir string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(dir, "sa.pub"), "PUBLIC KEY", public); err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, "sa.key"), "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// writeKubeconfig writes a kubeconfig for the identity of a file of makePKI, with everything in it, so that it can be copied.
func writeKubeconfig(path, pki, user, server string) error {
	data := map[string][]byte{}
	for _, f := range []string{"ca.crt", user + ".crt", user + ".key"} {
		b, err := os.ReadFile(filepath.Join(pki, f))
		if err != nil {
			return err
		}
		data[f] = b
	}
	text := fmt.Sprintf(kubeconfig, server, b64(data["ca.crt"]), b64(data[user+".crt"]), b64(data[user+".key"]))
	return os.WriteFile(path, []byte(text), 0o600)
}

const kubeconfig = `apiVersion: v1
kind: Config
current-context: covet-kube
contexts: [{name: covet-kube, context: {cluster: covet-kube, user: covet-kube}}]
clusters: [{name: covet-kube, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: covet-kube, user: {client-certificate-data: %s, client-key-data: %s}}]
`
