"""`iqe serve`: encoders and cross-encoders behind the APIs of other servers, over one queue."""
