# Yours to edit: where the origin is, and who may purge.
backend touchline {
    .host = "127.0.0.1";
    .port = "8000";
    .connect_timeout = 1s;
    .first_byte_timeout = 25s;       # longer than two slices of 10 s
    .between_bytes_timeout = 5s;
}
sub touchline_site {
    # The only Host that the origin ever sees.
    set req.http.Host = "scores.example";
    # "Bearer " and TOUCHLINE_PURGE_TOKEN of the fan-out. Empty: nobody may purge.
    set req.http.X-Purge-Authorization = "";
}
