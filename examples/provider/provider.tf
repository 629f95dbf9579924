terraform {
  required_providers {
    sampan = {
      source = "sampan/sampan"
    }
  }
}

# Everything may be left out here and set as SAMPAN_ENDPOINT, SAMPAN_TOKEN_FILE and so on.
provider "sampan" {
  endpoint   = "https://sampan.example.com"
  token_file = "/run/secrets/sampan-token"
}
