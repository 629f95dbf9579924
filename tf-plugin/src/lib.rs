//! A Terraform plugin framework for protocol 6. Knows nothing of Sampan.
