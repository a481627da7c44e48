# Varnish 7 in front of Touchline. Start it as varnishd.args says; TLS ends before it (hitch, nginx, a load balancer), by
# the PROXY protocol if that speaks it. Varnish keeps two threads for each held address; streams belong elsewhere
# (docs/operations.md), but go through.
vcl 4.1;
import std;
include "site-backend.vcl";

sub vcl_recv {
    # What the marks below mean is decided here, whatever a reader sends.
    unset req.http.X-Class; unset req.http.X-Answered; unset req.http.X-Purge-Authorization; unset req.http.X-Query;
    if (req.restarts == 0) { unset req.http.X-Stale; }
    call touchline_site;

    if (req.url ~ "^/purge(\?|$)") {
        if (req.http.X-Purge-Authorization == "" || req.http.Authorization != req.http.X-Purge-Authorization) {
            return (synth(403, "Forbidden"));
        }
        if (req.method != "POST" || req.http.Touchline-Match !~ "^[A-Za-z0-9_-]{1,64}$") { return (synth(400, "Bad Request")); }
        ban("obj.http.Surrogate-Key ~ (^|\s)match-" + req.http.Touchline-Match + "(\s|$)");
        return (synth(202, "Purged"));
    }
    # Varnish decodes nothing, the origin does: /%6detrics is /metrics there. No address of ours needs an escape, an empty or a
    # dotted segment in its path, so such a path reaches nothing and is kept nowhere.
    if (req.url !~ "^/[A-Za-z0-9_.~/-]*(\?|$)" || req.url ~ "^[^?]*(//|/\.)") { return (synth(404, "Not Found")); }
    if (req.url ~ "^/(metrics|readyz)([/?]|$)") { return (synth(404, "Not Found")); }
    # The operators' console is not for the edge that readers reach (docs/console.md).
    if (req.url ~ "^/console([/?]|$)") { return (synth(404, "Not Found")); }
    unset req.http.X-Purge-Authorization;
    unset req.http.X-Forwarded-Host;
    # VCL cannot drop all headers but a few; the origin reads none of these, and none shall reach it.
    unset req.http.X-HTTP-Method-Override; unset req.http.X-HTTP-Method; unset req.http.X-Method-Override;
    unset req.http.X-Original-URL; unset req.http.X-Rewrite-URL; unset req.http.X-Host; unset req.http.Forwarded;
    unset req.http.X-Forwarded-Proto; unset req.http.X-Forwarded-Port; unset req.http.X-Forwarded-Prefix;
    unset req.http.X-Forwarded-Scheme; unset req.http.X-Forwarded-Server; unset req.http.X-Real-IP;
    set req.http.X-Forwarded-For = client.ip;
    unset req.http.Cookie;

    if (req.url ~ "^/ws/" && req.http.Upgrade ~ "(?i)^websocket$") { return (pipe); }
    if (req.url ~ "^/(stream([?/]|$)|ws/)") { unset req.http.Accept-Encoding; return (pass); }
    if (req.method != "GET" && req.method != "HEAD") { return (pass); }

    # Known addresses; all else goes to the origin and is never kept.
    if (req.url ~ "^/api/match/[A-Za-z0-9_-]{1,64}/deltas/[0-9]{1,16}-[0-9]{1,16}/[0-9]{1,12}(\?|$)") {
        set req.http.X-Class = "poll";
        set req.url = regsub(req.url, "\?.*$", "");
    } elsif (req.url ~ "^/(match|embed)/[A-Za-z0-9_-]{1,64}(\?|$)"
          || req.url ~ "^/match/[A-Za-z0-9_-]{1,64}/fragment/[0-9]{1,16}-[0-9]{1,16}(\?|$)") {
        # Their delay and their language are in their address, in this order; what is none of ours is not.
        set req.http.X-Class = "page";
        set req.http.X-Query = "";
        if (req.url ~ "[?&]behind=([1-9][0-9]?|1[01][0-9]|120)(&|$)") {
            set req.http.X-Query = regsub(req.url, "^.*[?&]behind=([0-9]+)(&.*)?$", "&behind=\1");
        }
        if (req.url ~ "(?i)[?&]lang=(ar|de|es|fr|it|ja|nl|pl|pt)([-_&]|$)") {
            set req.http.X-Query = req.http.X-Query + "&lang="
                + std.tolower(regsub(req.url, "(?i)^.*[?&]lang=(ar|de|es|fr|it|ja|nl|pl|pt)([-_&].*)?$", "\1"));
        }
        set req.url = regsub(req.url, "\?.*$", "") + regsub(req.http.X-Query, "^&", "?");
        unset req.http.X-Query;
    } elsif (req.url ~ "^/api/match/[A-Za-z0-9_-]{1,64}/state\?(.*&)?behind=([1-9][0-9]?|1[01][0-9]|120)(&|$)") {
        # A snapshot as of some seconds ago.
        set req.http.X-Class = "page";
        set req.url = regsub(req.url, "\?.*$", "") + regsub(req.url, "^.*[?&]behind=([0-9]+)(&.*)?$", "?behind=\1");
    } elsif (req.url ~ "^/api/match/[A-Za-z0-9_-]{1,64}/(state|deltas/[0-9]{1,16}-[0-9]{1,16})(\?|$)"
          || req.url ~ "^/widget/[A-Za-z0-9._/-]{1,200}(\?|$)") {
        set req.http.X-Class = "page";
        set req.url = regsub(req.url, "\?.*$", "");
    } elsif (req.url ~ "^/score\?") {
        set req.http.X-Class = "page";
        if (req.url ~ "[?&]matchId=[A-Za-z0-9_-]{1,64}(&|$)") {
            set req.url = regsub(req.url, "^/score\?(?:.*&)?matchId=([A-Za-z0-9_-]{1,64})(&.*)?$", "/score?matchId=\1");
        } else {
            set req.url = "/score";
        }
    } elsif (req.url ~ "^/(list)?(\?|$)") {
        # A list, as a page or a fragment, has four parameters in one order.
        set req.http.X-Class = "page";
        set req.http.X-Query = "";
        if (req.url ~ "[?&]day=[0-9-]{1,10}(&|$)") {
            set req.http.X-Query = regsub(req.url, "^.*[?&]day=([0-9-]{1,10})(&.*)?$", "&day=\1");
        }
        if (req.url ~ "[?&]competition=[A-Za-z0-9%._~+!'()*-]{1,400}(&|$)") {
            set req.http.X-Query = req.http.X-Query
                + regsub(req.url, "^.*[?&]competition=([A-Za-z0-9%._~+!'()*-]{1,400})(&.*)?$", "&competition=\1");
        }
        if (req.url ~ "[?&]page=[0-9]{1,6}(&|$)") {
            set req.http.X-Query = req.http.X-Query + regsub(req.url, "^.*[?&]page=([0-9]{1,6})(&.*)?$", "&page=\1");
        }
        if (req.url ~ "(?i)[?&]lang=(ar|de|es|fr|it|ja|nl|pl|pt)([-_&]|$)") {
            set req.http.X-Query = req.http.X-Query + "&lang="
                + std.tolower(regsub(req.url, "(?i)^.*[?&]lang=(ar|de|es|fr|it|ja|nl|pl|pt)([-_&].*)?$", "\1"));
        }
        set req.url = regsub(req.url, "\?.*$", "") + regsub(req.http.X-Query, "^&", "?");
        unset req.http.X-Query;
    } else {
        return (pass);
    }

    # Nothing else of the request reaches the origin or the key.
    unset req.http.Authorization; unset req.http.Range; unset req.http.Origin; unset req.http.Referer;
    unset req.http.User-Agent; unset req.http.Accept-Language; unset req.http.Pragma;
    if (req.http.Accept ~ "text/html") { set req.http.Accept = "text/html"; }
    else { set req.http.Accept = "application/json"; }
    if (req.http.X-Class == "poll") {
        unset req.http.Accept-Encoding; unset req.http.If-None-Match; unset req.http.If-Modified-Since;
    } elsif (req.http.X-Stale) {
        # The origin has just failed: whatever there is.
        set req.grace = 24h;
    } elsif (req.http.Cache-Control ~ "(?i)no-cache") {
        set req.grace = 0s;          # past the cache: no older than a second, one origin request for all who ask so
    } else {
        set req.grace = 5s;          # stale-while-revalidate
    }
    unset req.http.Cache-Control;
    return (hash);
}

sub vcl_hash {
    hash_data(req.url);
    return (lookup);
}

sub vcl_pipe {
    set bereq.http.Upgrade = "websocket";
    set bereq.http.Connection = "Upgrade";
}

sub vcl_backend_response {
    if (bereq.uncacheable || !bereq.http.X-Class) { return (deliver); }
    if (beresp.http.Set-Cookie) {
        set beresp.uncacheable = true; set beresp.ttl = 0s;
        return (deliver);
    }
    if (bereq.http.X-Class == "poll") {
        unset beresp.http.Vary;
        set beresp.do_stream = false;            # nobody sees a body before it is whole
        set beresp.grace = 0s; set beresp.keep = 0s;
        if (beresp.status == 200) { set beresp.ttl = 1m; }     # as long as that of an ended match; nobody asks later
        elsif (beresp.status == 410) { set beresp.ttl = 5s; }
        else { set beresp.ttl = 1s; }                          # never hit-for-miss: waiters would go one by one
        return (deliver);
    }
    if (beresp.status >= 500) {
        if (bereq.is_bgfetch) { return (abandon); }            # keep what there is
        set bereq.http.X-Answered = "1";
        return (error(503, "the origin failed"));
    }
    set beresp.do_stream = false;                # a body that is cut is an error, and never half a page
    if (beresp.status >= 300 || beresp.ttl < 1s) {
        # Errors and "no delta yet" are no-store to readers; here one is shared for a second.
        set beresp.uncacheable = false; set beresp.ttl = 1s; set beresp.grace = 0s;
        return (deliver);
    }
    set beresp.grace = 24h;                      # stale-if-error; req.grace says what of it is used
    set beresp.keep = 24h;                       # to ask by ETag
}

sub vcl_backend_error {
    if (bereq.http.X-Class && bereq.retries < 2 && !bereq.uncacheable && !bereq.http.X-Answered) { return (retry); }
    if (bereq.is_bgfetch) { return (abandon); }  # keep what there is
    # All who wait share one try. Of a page the time to live stays Varnish's own: a second if anybody waits, else none.
    # With one of ours the error would take the place of the page that is kept.
    if (bereq.http.X-Class != "page") { set beresp.ttl = 1s; }
    set beresp.grace = 0s; set beresp.keep = 0s;
    # Who asks again for whatever there is must not find this error in front of it.
    set beresp.http.Vary = "X-Stale";
    set beresp.http.Cache-Control = "no-store";
    set beresp.http.Retry-After = "1";
    set beresp.http.Content-Type = "application/json";
    set beresp.http.Access-Control-Allow-Origin = "*";
    set beresp.http.Access-Control-Expose-Headers = "ETag, Touchline-Id, Retry-After";
    set beresp.http.X-Content-Type-Options = "nosniff";
    set beresp.status = 503;
    synthetic("""{"error":{"code":"origin_unavailable","message":"the origin does not answer"}}""");
    return (deliver);
}

sub vcl_deliver {
    if (resp.status >= 500 && req.http.X-Class == "page" && req.restarts == 0) {
        set req.http.X-Stale = "1";
        return (restart);
    }
    if (resp.http.Vary == "X-Stale") { unset resp.http.Vary; }
    # By date only who names the very date is right: a later one may be that of a poll which missed a late change.
    if (req.http.If-Modified-Since && req.http.If-Modified-Since != resp.http.Last-Modified) {
        unset req.http.If-Modified-Since;
    }
    unset resp.http.Via; unset resp.http.X-Varnish;
    if (obj.hits > 0) { set resp.http.X-Cache = "HIT"; } else { set resp.http.X-Cache = "MISS"; }
}

sub vcl_synth {
    set resp.http.Content-Type = "application/json";
    set resp.http.Cache-Control = "no-store";
    synthetic("""{"error":{"message":" """ + resp.reason + """ "}}""");
    return (deliver);
}
