/** A self-signed certificate for localhost and its key, for tests of TLS on the loopback interface. */
export const certificate = {
  cert: `-----BEGIN CERTIFICATE-----
MIIBmjCCAUGgAwIBAgIUE6AO2A+v2cCLa+qSDwtjfzKVeHEwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTIyMjgzMVoYDzIxMjYxMDI4
MjIyODMxWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARSnnLY7ba1V/fiTzxbS5GgGRBZSBLRr2XVYdtPztSwGcBX85NeoIyg
/oOnmefoMUrHRt1BliivrgjHyglpHh05o28wbTAdBgNVHQ4EFgQUhf9fjCvwI1Ic
rYb2kaiafUttccQwHwYDVR0jBBgwFoAUhf9fjCvwI1IcrYb2kaiafUttccQwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDRwAwRAIgFx3X98JtXZkcQH6HW4AXxgua+XcXdFiz0PdiVr0X21YCIGRN
nLFLNlgWxPrWtHY6vxYXXwA+X9X370CWywEiyxwH
-----END CERTIFICATE-----`,
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgb10NPd3JWqcslWyT
L1N8hmFh99voXsJ2dEV6u+QfjpahRANCAARSnnLY7ba1V/fiTzxbS5GgGRBZSBLR
r2XVYdtPztSwGcBX85NeoIyg/oOnmefoMUrHRt1BliivrgjHyglpHh05
-----END PRIVATE KEY-----`,
}
