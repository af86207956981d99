"""bufcache."""
