"""Manifests of a presentation, rendered from `presentation.json`; pure, also used by the origin.

What players need from the `DrmSignal`s of a key, each rule seen to fail in Chromium otherwise:

- The common system's `pssh` (1077efec-...) stands in `moov`: hls.js waits for it.
- The ClearKey descriptor of DASH has no `pssh`: dash.js takes it for a list of key ids.
- HLS has two ClearKey tags without IV: `identity` for shaka-player, whose URI answers the 16
  octets of the key, and `org.w3.clearkey` with KEYID for hls.js, whose URI must differ from key
  to key though nobody fetches it. METHOD is SAMPLE-AES for `cbcs` and SAMPLE-AES-CTR for `cenc`.
"""
