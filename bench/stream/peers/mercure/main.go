// A minimal server on the Mercure library: its own hub as it is, in memory, with anonymous viewers and nothing
// to authorize. The program that Mercure is shipped as wraps the same hub in Caddy, which is left out, so this
// is the peer at its leanest.
//
// usage: mercure-peer 127.0.0.1:PORT
package main

import (
	"context"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/dunglas/mercure"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: mercure-peer 127.0.0.1:PORT")
	}
	host, _, err := net.SplitHostPort(os.Args[1])
	if err != nil || !net.ParseIP(host).IsLoopback() {
		log.Fatal("only a loopback address is served: anybody may publish here")
	}
	errorsOnly := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	hub, err := mercure.NewHub(
		context.Background(),
		mercure.WithAnonymous(),
		mercure.WithLogger(errorsOnly),
		// Heartbeats off: their cost would be counted as the cost of deliveries.
		mercure.WithHeartbeat(0),
	)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/.well-known/mercure", hub)
	// The hub has no route for publications without a key to check them by; its handler does without one.
	mux.HandleFunc("POST /publish", hub.PublishHandler)
	server := &http.Server{Addr: os.Args[1], Handler: mux, ReadHeaderTimeout: time.Minute}
	log.Fatal(server.ListenAndServe())
}
