from django.db import models


class CacheEntry(models.Model):
    """A row of Django's database cache, which all processes share: here the limits of the sign-in count failures."""

    cache_key = models.CharField(max_length=255, primary_key=True)
    value = models.TextField()
    expires = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "portal_cache"  # CACHES names it

    def __str__(self) -> str:
        return self.cache_key
