// A minimal server on the Centrifuge library, the engine of Centrifugo: its own SSE handler, the in-memory
// broker, one channel that every connection is subscribed to by the server. Publishing is a POST of the raw
// event to /publish. What Centrifugo adds around it (configuration, admin, proxies, API keys) is left out, so
// this is the peer at its leanest.
//
// usage: centrifuge-peer 127.0.0.1:PORT
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/centrifugal/centrifuge"
)

const channel = "bench"

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: centrifuge-peer 127.0.0.1:PORT")
	}
	host, _, err := net.SplitHostPort(os.Args[1])
	if err != nil || !net.ParseIP(host).IsLoopback() {
		log.Fatal("only a loopback address is served: anybody may publish here")
	}
	node, err := centrifuge.New(centrifuge.Config{LogLevel: centrifuge.LogLevelError, LogHandler: logEntry})
	if err != nil {
		log.Fatal(err)
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{
			Credentials:   &centrifuge.Credentials{},
			Subscriptions: map[string]centrifuge.SubscribeOptions{channel: {}},
		}, nil
	})
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	// Pings off: their cost would be counted as the cost of deliveries, and nobody here answers them.
	off := centrifuge.PingPongConfig{PingInterval: -1, PongTimeout: -1}
	mux.Handle("/sse", centrifuge.NewSSEHandler(node, centrifuge.SSEConfig{PingPongConfig: off}))
	mux.HandleFunc("/publish", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 65536))
		if err == nil {
			_, err = node.Publish(channel, body)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	server := &http.Server{Addr: os.Args[1], Handler: mux, ReadHeaderTimeout: time.Minute}
	log.Fatal(server.ListenAndServe())
}

func logEntry(entry centrifuge.LogEntry) {
	fmt.Fprintln(os.Stderr, entry.Message, entry.Fields)
}
