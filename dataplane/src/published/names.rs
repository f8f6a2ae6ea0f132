//! Which counters there are, and what they are called.

macro_rules! counters {
    ($(#[doc = $about:literal])+ $enum:ident {
        $($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum $enum {
            $($(#[doc = $doc])+ $name,)+
        }

        impl $enum {
            /// All of them, in the order of their discriminants.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name in the API and in metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

counters! {
    /// What a worker counts once for all its ports.
    WorkerCounter {
        /// Frames that its receive queues gave.
        Received = "received",
        /// Frames of another worker that it took out of a ring.
        TakenOver = "taken_over",
        /// Packets of the host stack that it was given to send.
        Injected = "injected",
        /// Frames sent on, translated or not.
        Forwarded = "forwarded",
        /// Frames given to the node that owns their session.
        Redirected = "redirected",
        /// Of the redirected: packets of sessions that another node owns, or is to take over.
        RedirectedReplica = "redirected_replica",
        /// Of the redirected: packets that open no session and have none here.
        RedirectedNoSession = "redirected_no_session",
        /// Of the redirected: to an address and port that NAT gives away, but no session here has.
        RedirectedPort = "redirected_port",
        /// Of the redirected: ICMP errors about no packet of ours.
        RedirectedError = "redirected_icmp_error",
        /// Of the redirected: packets that policy lets open no session.
        RedirectedRefused = "redirected_refused",
        /// Of the redirected: packets that came before the peer had told all that it knows.
        RedirectedJoining = "redirected_joining",
        /// Of the redirected: packets that would have opened a session while this node was about to go.
        RedirectedLeaving = "redirected_leaving",
        /// Of the redirected: packets that travel with their session's record, to be sent by another
        /// node.
        RedirectedInline = "redirected_inline",
        /// Packets that were to travel so, and were sent directly: the other node was out of reach or
        /// slow, or the packet too long for the HA link.
        InlineDirect = "inline_direct",
        /// Packets of another node's that this node sent for it, or got back from it and sent.
        InlineSent = "inline_sent",
        /// Packets of another node's that this node could not send, and gave back.
        InlineReturned = "inline_returned",
        /// Packets that another node was to send and did not acknowledge in time, sent by this node.
        InlineRecalled = "inline_recalled",
        /// Packets that travelled with a record, and that this node could neither send nor give back.
        InlineLost = "inline_lost",
        /// Frames that the peer received, and gave to this node (part of `received`).
        CorrectedReceived = "corrected_received",
        /// Frames given to the host stack.
        Punted = "punted",
        /// Frames to the appliance itself: ARP, neighbour discovery, echo, clients that it redirects.
        Consumed = "consumed",
        /// Frames that wait for a neighbour or for a fragment, at the moment.
        Held = "held",
        /// Frames put in the ring of the worker that owns their session.
        HandedOver = "handed_over",
        /// Frames made here and sent: ARP, neighbour discovery, echo replies, ICMP errors, TCP segments.
        Originated = "originated",
        /// Frames made here that a device did not take.
        OriginatedLost = "originated_lost",
        /// Frames handed over because another worker is home to their tuple: the device has no RSS.
        Steered = "steered",
        /// Segments outside the TCP window, passed on or (where the policy is strict) dropped.
        TcpOutOfWindow = "tcp_out_of_window",
        /// Resets sent for segments without a session.
        ResetsSent = "resets_sent",
        /// SYNs of clients that no real server could take, answered so that they can be redirected.
        HttpRedirectSyns = "http_redirect_syns",
        /// HTTP requests of such clients answered by a redirect.
        HttpRedirects = "http_redirects",
        /// Connections of such clients that do not speak HTTP, answered by a reset.
        HttpRedirectResets = "http_redirect_resets",
        /// Resets sent to the ends of sessions whose time was over, or that an operator ended.
        ExpiryResets = "expiry_resets",
        /// Probes sent to the ends of sessions whose time was about to be over.
        ExpiryProbes = "expiry_probes",
        /// Sessions whose ends were not told, or not probed at that time, for the sake of the rate.
        ExpiryLimited = "expiry_limited",
        /// Such resets and probes for which there was no buffer, or whose next hop is not known.
        ExpiryUnsent = "expiry_unsent",
        /// ICMP errors sent.
        IcmpErrorsSent = "icmp_errors_sent",
        /// ICMP errors that the rate limit kept back.
        IcmpErrorsLimited = "icmp_errors_limited",
        /// Stations heard that claim one of our addresses.
        AddressConflicts = "address_conflicts",
        /// Tuples of other workers' sessions for which there was no room here.
        Unregistrable = "unregistrable",
        /// Fragments among the received frames.
        Fragments = "fragments",
        /// Sessions opened.
        SessionsOpened = "sessions_opened",
        /// Sessions ended for any reason.
        SessionsEnded = "sessions_ended",
        /// Milliseconds that ended sessions had lived, together.
        SessionMs = "session_ms",
        /// IPv4 sessions, at the moment.
        SessionsV4 = "sessions_v4",
        /// IPv6 sessions, at the moment.
        SessionsV6 = "sessions_v6",
        /// Times that the worker looked at its queues.
        Polls = "polls",
        /// Times that it found something there.
        BusyPolls = "busy_polls",
        /// Nanoseconds that it spent in rounds that found something.
        BusyNs = "busy_ns",
        /// Times that it slept because there was nothing.
        Sleeps = "sleeps",
        /// Sessions taken over from a peer that died, or that did not know them.
        SessionsTakenOver = "sessions_taken_over",
        /// Copies of the peer's sessions, at the moment.
        SessionsReplica = "sessions_replica",
        /// Tuples of sessions of which no more is known than the owner, at the moment.
        HaPointers = "ha_pointers",
        /// Sessions of ours that the peer may not know yet, at the moment.
        SessionsUntold = "sessions_untold",
        /// Records put in the stream to the peer.
        HaRecordsSent = "ha_records_sent",
        /// Records that the peer sent.
        HaRecordsReceived = "ha_records_received",
        /// Records that found no room, here or there.
        HaRecordsLost = "ha_records_lost",
        /// Records that say other than what is known here: of tuples that both nodes have, or late.
        HaConflicts = "ha_conflicts",
        /// Records of zones that the configuration does not have.
        HaRecordsForeign = "ha_records_foreign",
        /// 0 no peer configured, 1 the peer is dead, 2 it has not told all that it knows, 3 present,
        /// 4 it lives and cannot be reached by the HA link. Of several: the worst, of 1, 4, 2 and 3.
        PeerState = "peer_state",
        /// Buckets of the peer's digest that were not what is known here.
        HaDigestMismatches = "ha_digest_mismatches",
        /// Buckets that the peer asked to be told anew.
        HaRepairs = "ha_repairs",
        /// Copies removed because the peer, telling all it has, did not tell of them.
        HaSwept = "ha_swept",
        /// Milliseconds since all that the peer tells was last found to be known here, at the moment.
        HaDigestAge = "ha_digest_age_ms",
        /// Groups of addresses that this node holds, at the moment: bit n is group n.
        HaGroupsHeld = "ha_groups_held",
        /// Groups that the peer says it holds, at the moment.
        HaGroupsPeer = "ha_groups_peer",
        /// Ways to the peer that work, at the moment: bit 0 the HA link, bit 1 the data port.
        HaPaths = "ha_paths",
        /// Tracked routers that do not answer, at the moment: bit n is the n-th.
        HaGatewaysLost = "ha_gateways_lost",
        /// Whether the peer knows that this node is about to stop, and has taken everything over.
        HaAway = "ha_away",
        /// Whether this node is about to go, and the others know all that this worker had said when they had heard
        /// of that, and what they had sent before had come.
        HaPassed = "ha_passed",
        /// Whether this node has been told everything since its start, and may hold groups.
        HaJoined = "ha_joined",
        /// Frames of records that the peer has not acknowledged, at the moment.
        HaLag = "ha_lag",
        /// Control connections (FTP) that are watched, at the moment.
        AlgControls = "alg_controls",
        /// Sessions that they announced, on any worker, and that are expected here, at the moment.
        AlgExpected = "alg_expected",
        /// Sessions opened because they were expected.
        AlgOpened = "alg_opened",
        /// Announcements that were rewritten.
        AlgRewritten = "alg_rewritten",
        /// Announcements that were passed on as they came, and are not expected: of an endpoint that is not
        /// the speaker's, or without room. Also control connections that there was no room to watch.
        AlgRefused = "alg_refused",
        /// Endpoint-independent NAT mappings, at the moment.
        NatMappings = "nat_mappings",
        /// Clients that persistence remembers, at the moment.
        PersistentClients = "persistent_clients",
        /// Clients that persistence had no room for.
        PersistenceFull = "persistence_full",
        /// Epoch of the snapshot that it works by, at the moment.
        Epoch = "epoch",
    }
}

counters! {
    /// What a worker counts per logical port.
    PortCounter {
        /// Frames received.
        RxFrames = "rx_frames",
        /// Their bytes, without FCS.
        RxBytes = "rx_bytes",
        /// Frames sent.
        TxFrames = "tx_frames",
        /// Their bytes, without FCS.
        TxBytes = "tx_bytes",
        /// Frames received on this port that were dropped.
        RxDropped = "rx_dropped",
        /// Frames that the device did not take.
        TxDropped = "tx_dropped",
    }
}

counters! {
    /// What a worker counts per service and per real server.
    FlowCounter {
        /// Packets of openers.
        PacketsOriginal = "packets_original",
        /// Bytes (IP length) of openers.
        BytesOriginal = "bytes_original",
        /// Packets that answer.
        PacketsReply = "packets_reply",
        /// Bytes (IP length) that answer.
        BytesReply = "bytes_reply",
        /// Sessions opened.
        Opened = "sessions_opened",
        /// Sessions ended.
        Ended = "sessions_ended",
        /// Packets that were not let open a session (for a firewall rule: that it denied).
        Refused = "refused",
        /// Packets that opened no session because no NAT port was free (part of no other counter).
        NatExhausted = "nat_exhausted",
        /// Sessions that were given to a lower priority group, the backup pool or the sorry server.
        Overflowed = "sessions_overflowed",
        /// HTTP requests that a virtual server answered by a redirect, because nobody could take them.
        HttpRedirects = "http_redirects",
        /// TCP connections that a real server answered.
        Answered = "connections_answered",
        /// TCP connections to a real server that it did not answer: the client had to ask again, or gave
        /// up.
        Unanswered = "connections_unanswered",
        /// TCP connections that a real server refused by a reset.
        Rejected = "connections_refused",
    }
}

counters! {
    /// How another node is, as a worker sees it. All are what is there at the moment.
    PeerCounter {
        /// 1 it is dead, 2 it has not told all that it knows, 3 present, 4 it lives and cannot be
        /// reached by the HA link.
        State = "state",
        /// Ways to it that work: bit 0 the HA link, bit 1 the data port. Of worker 0.
        Paths = "paths",
        /// Frames of records that it has not acknowledged.
        Lag = "lag",
        /// Milliseconds since all that it tells was last found to be known here.
        DigestAge = "digest_age_ms",
        /// Sessions of ours that it may not know yet.
        Untold = "sessions_untold",
        /// Groups that it says it holds: bit n is group n. Of worker 0.
        Groups = "groups",
    }
}
